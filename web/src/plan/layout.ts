// Where each seat of a house stands on the plan. The API names sections, rows and numbers; the shape follows from them.
// One unit is the distance between neighbours.

import { hundredths } from "../money";
import type { Seat } from "../api/seats";

export interface Section {
  name: string;
  grade: string;
  price: string;
  /** Which of the house's prices, the dearest first: it decides the colour. */
  tier: number;
  rows: Row[];
  /** Where its label stands: the middle, above the first row. */
  labelX: number;
  labelY: number;
  width: number;
}

export interface Row {
  name: string;
  /** Indexes of its seats, by number. */
  seats: number[];
}

export interface Layout {
  x: Float32Array;
  y: Float32Array;
  tier: Uint8Array;
  sections: Section[];
  tiers: { price: string; grade: string; sections: string[] }[];
  width: number;
  height: number;
  stageWidth: number;
  /** The seat at a point, or -1. */
  at: (x: number, y: number) => number;
  /** The nearest seat in a direction, or the same one. */
  neighbour: (seat: number, dx: number, dy: number) => number;
  /** All seats within a rectangle. */
  within: (left: number, top: number, right: number, bottom: number) => number[];
}

const ROW_PITCH = 1.12;
const AISLE = 2;
/** Between tiers, with the room for labels. */
const GAP = 3.2;
const STAGE = 5;
/** How far the ends of the widest row bend towards the stage, as a share of its half. */
const BEND = 0.1;
const MAX_BEND = 7;

export function layOut(seats: readonly Seat[]): Layout {
  const sections = gather(seats);
  const prices = [...new Set(sections.map((it) => it.price))].sort((a, b) => (hundredths(b) > hundredths(a) ? 1 : -1));
  for (const section of sections) section.tier = prices.indexOf(section.price);
  sections.sort((a, b) => a.tier - b.tier);

  const x = new Float32Array(seats.length);
  const y = new Float32Array(seats.length);
  const tier = new Uint8Array(seats.length);
  const blocks = intoBlocks(sections);
  const width = Math.max(10, ...blocks.map(blockWidth));
  const bend = Math.min(width * 0.5 * BEND, MAX_BEND);
  const curve = bend / (width * 0.5) ** 2;
  let top = STAGE + GAP - 1 + curve * (blockWidth(blocks[0] ?? []) / 2) ** 2;
  for (const block of blocks) {
    let left = (width - blockWidth(block)) / 2;
    const depth = Math.max(...block.map((it) => it.rows.length));
    for (const section of block) {
      const breadth = sectionWidth(section);
      section.width = breadth;
      section.labelX = left + breadth / 2;
      section.labelY = top - 1.1 - curve * (section.labelX - width / 2) ** 2;
      section.rows.forEach((row, rowAt) => {
        const indent = (breadth - span(row, seats)) / 2;
        const first = seats[row.seats[0] ?? 0]?.number ?? 1;
        for (const at of row.seats) {
          x[at] = left + indent + (seats[at]!.number - first) + 0.5;
          y[at] = top + rowAt * ROW_PITCH + 0.5 - curve * (x[at]! - width / 2) ** 2;
          tier[at] = section.tier;
        }
      });
      left += breadth + AISLE;
    }
    top += depth * ROW_PITCH + GAP;
  }
  const tiers = prices.map((price) => {
    const of = sections.filter((it) => it.price === price);
    return { price, grade: [...new Set(of.map((it) => it.grade))].join(", "), sections: of.map((it) => it.name) };
  });
  const height = top - GAP + 1;
  return { x, y, tier, sections, tiers, width, height, stageWidth: Math.min(width * 0.6, 40), ...search(x, y, width, height) };
}

function gather(seats: readonly Seat[]): Section[] {
  const sections = new Map<string, Section & { byRow: Map<string, Row> }>();
  seats.forEach((seat, at) => {
    let section = sections.get(seat.section);
    if (!section) {
      const { section: name, grade, price } = seat;
      section = { name, grade, price, tier: 0, rows: [], labelX: 0, labelY: 0, width: 0, byRow: new Map() };
      sections.set(name, section);
    }
    let row = section.byRow.get(seat.row);
    if (!row) {
      row = { name: seat.row, seats: [] };
      section.byRow.set(seat.row, row);
      section.rows.push(row);
    }
    row.seats.push(at);
  });
  for (const section of sections.values()) {
    for (const row of section.rows) row.seats.sort((a, b) => seats[a]!.number - seats[b]!.number);
  }
  return [...sections.values()];
}

const span = (row: Row, seats: readonly Seat[]): number =>
  (seats[row.seats.at(-1) ?? 0]?.number ?? 1) - (seats[row.seats[0] ?? 0]?.number ?? 1) + 1;

const sectionWidth = (section: Section): number => Math.max(...section.rows.map((row) => row.seats.length));

const blockWidth = (block: readonly Section[]): number =>
  block.reduce((total, it) => total + sectionWidth(it), 0) + AISLE * (block.length - 1);

/**
 * Sections of one price stand side by side, the widest in the middle. Behind the dearest ones, two prices share a block
 * where the house is otherwise deeper than wide.
 */
function intoBlocks(sections: readonly Section[]): Section[][] {
  const total = sections.reduce((sum, it) => sum + it.rows.reduce((count, row) => count + row.seats.length, 0), 0);
  const blocks: Section[][] = [];
  for (const section of sections) {
    const last = blocks.at(-1);
    const same = last?.[0]?.tier === section.tier;
    const widest = Math.max(...sections.map(sectionWidth), Math.sqrt(total) * (same ? 2.2 : 1.42));
    const fits = last && (same || last[0]!.tier > 0) && blockWidth([...last, section]) <= widest;
    if (fits) last.push(section);
    else blocks.push([section]);
  }
  for (const block of blocks) {
    if (block.length < 3 || block.some((it) => it.tier !== block[0]!.tier)) continue;
    const widest = block.reduce((most, it, at) => (sectionWidth(it) > sectionWidth(block[most]!) ? at : most), 0);
    const [section] = block.splice(widest, 1);
    block.splice(Math.floor((block.length + 1) / 2), 0, section!);
  }
  return blocks;
}

/** Seats are at least a unit apart, so a grid of unit cells finds them. */
function search(x: Float32Array, y: Float32Array, width: number, height: number): Pick<Layout, "at" | "neighbour" | "within"> {
  const columns = Math.ceil(width) + 1;
  const rows = Math.ceil(height) + 1;
  const grid = new Int32Array(columns * rows).fill(-1);
  x.forEach((_, seat) => {
    grid[Math.floor(y[seat]!) * columns + Math.floor(x[seat]!)] = seat;
  });
  const cell = (column: number, row: number): number =>
    column < 0 || row < 0 || column >= columns || row >= rows ? -1 : (grid[row * columns + column] ?? -1);
  const at = (px: number, py: number): number => {
    let best = -1;
    let nearest = 0.7 ** 2;
    for (let row = Math.floor(py) - 1; row <= Math.floor(py) + 1; row++) {
      for (let column = Math.floor(px) - 1; column <= Math.floor(px) + 1; column++) {
        const seat = cell(column, row);
        if (seat < 0) continue;
        const distance = (x[seat]! - px) ** 2 + (y[seat]! - py) ** 2;
        if (distance < nearest) [best, nearest] = [seat, distance];
      }
    }
    return best;
  };
  const neighbour = (seat: number, dx: number, dy: number): number => {
    let best = seat;
    let nearest = Infinity;
    for (let other = 0; other < x.length; other++) {
      const across = x[other]! - x[seat]!;
      const along = y[other]! - y[seat]!;
      const ahead = across * dx + along * dy;
      if (other === seat || ahead < 0.4) continue;
      const aside = Math.abs(across * dy) + Math.abs(along * dx);
      const distance = ahead + aside * 4;
      if (distance < nearest) [best, nearest] = [other, distance];
    }
    return best;
  };
  const within = (left: number, top: number, right: number, bottom: number): number[] => {
    const found: number[] = [];
    for (let seat = 0; seat < x.length; seat++) {
      if (x[seat]! >= left && x[seat]! <= right && y[seat]! >= top && y[seat]! <= bottom) found.push(seat);
    }
    return found;
  };
  return { at, neighbour, within };
}
