// Paints a house on a canvas. Seats of one look are one path; of a large house that is being moved, a picture is moved.

import type { House } from "../api/seats";
import type { Layout } from "./layout";

export interface Camera {
  /** Pixels per unit. */
  scale: number;
  /** Where the plan's origin is, in pixels. */
  x: number;
  y: number;
}

export interface Marks {
  selected: ReadonlySet<number>;
  conflicts: ReadonlySet<number>;
  cursor: number;
  hover: number;
  area: { left: number; top: number; right: number; bottom: number } | null;
}

export interface Palette {
  tiers: string[];
  held: string;
  sold: string;
  blocked: string;
  selected: string;
  onSelected: string;
  conflict: string;
  focus: string;
  ink: string;
  muted: string;
  stage: string;
  ground: string;
}

export function readPalette(element: Element): Palette {
  const style = getComputedStyle(element);
  const of = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  return {
    tiers: [1, 2, 3, 4, 5, 6].map((at) => of(`tier-${at}`)),
    held: of("seat-held"),
    sold: of("seat-sold"),
    blocked: of("seat-blocked"),
    selected: of("selected"),
    onSelected: of("on-selected"),
    conflict: of("bad"),
    focus: of("ink"),
    ink: of("ink"),
    muted: of("muted"),
    stage: of("line"),
    ground: of("surface"),
  };
}

/** Of a seat, in units: what is left between neighbours. */
const SIZE = 0.78;
/** Below this many pixels a seat is a dot without corners. */
const ROUND_FROM = 7;
/** The fewest pixels that show an outline, a circle or a cross. */
const SHAPED_FROM = 3.5;
const NUMBERS_FROM = 19;

interface View {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

export function paint(
  context: CanvasRenderingContext2D,
  house: House,
  layout: Layout,
  camera: Camera,
  palette: Palette,
  width: number,
  height: number,
): void {
  const { scale } = camera;
  context.clearRect(0, 0, width, height);
  paintStage(context, layout, camera, palette);
  const view: View = {
    left: -camera.x / scale - 1,
    top: -camera.y / scale - 1,
    right: (width - camera.x) / scale + 1,
    bottom: (height - camera.y) / scale + 1,
  };
  const { x, y, tier } = layout;
  const looks: number[][] = Array.from({ length: 10 }, () => []);
  for (let seat = 0; seat < x.length; seat++) {
    const sx = x[seat]!;
    const sy = y[seat]!;
    if (sx < view.left || sx > view.right || sy < view.top || sy > view.bottom) continue;
    const status = house.status[seat]!;
    looks[status === 0 ? tier[seat]! % 6 : 5 + status]!.push(seat);
  }
  looks.forEach((seats, look) => {
    if (seats.length > 0) paintSeats(context, seats, look, layout, camera, palette);
  });
  if (scale * SIZE >= NUMBERS_FROM) paintNumbers(context, looks, house, layout, camera, palette);
  paintLabels(context, layout, camera, palette);
}

function paintSeats(
  context: CanvasRenderingContext2D,
  seats: readonly number[],
  look: number,
  layout: Layout,
  camera: Camera,
  palette: Palette,
): void {
  const { scale } = camera;
  const status = look < 6 ? 0 : look - 5;
  // What can't be bought is smaller and of another shape: not by its colour alone.
  const full = scale * SIZE;
  const least = full < SHAPED_FROM ? 0 : SHAPED_FROM;
  const size = status === 0 ? full : Math.max(full * (status === 1 ? 0.86 : 0.5), least);
  const color = status === 0 ? palette.tiers[look]! : [palette.held, palette.sold, palette.blocked][status - 1]!;
  const left = (seat: number): number => camera.x + layout.x[seat]! * scale - size / 2;
  const top = (seat: number): number => camera.y + layout.y[seat]! * scale - size / 2;
  context.fillStyle = color;
  context.strokeStyle = color;
  if (size < (status === 0 ? ROUND_FROM : SHAPED_FROM)) {
    for (const seat of seats) context.fillRect(left(seat), top(seat), size, size);
    return;
  }
  context.beginPath();
  for (const seat of seats) {
    if (status === 3) {
      context.moveTo(left(seat), top(seat));
      context.lineTo(left(seat) + size, top(seat) + size);
      context.moveTo(left(seat) + size, top(seat));
      context.lineTo(left(seat), top(seat) + size);
    } else if (status === 2) {
      context.moveTo(left(seat) + size, top(seat) + size / 2);
      context.arc(left(seat) + size / 2, top(seat) + size / 2, size / 2, 0, 2 * Math.PI);
    } else {
      context.roundRect(left(seat), top(seat), size, size, size * 0.28);
    }
  }
  if (status === 1 || status === 3) {
    context.lineWidth = Math.max(1, size * 0.14);
    context.stroke();
  } else {
    context.fill();
  }
}

function paintNumbers(
  context: CanvasRenderingContext2D,
  looks: readonly number[][],
  house: House,
  layout: Layout,
  camera: Camera,
  palette: Palette,
): void {
  context.fillStyle = palette.onSelected;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.font = `600 ${Math.round(camera.scale * 0.34)}px system-ui, sans-serif`;
  for (const seats of looks.slice(0, 6)) {
    for (const seat of seats) {
      const px = camera.x + layout.x[seat]! * camera.scale;
      const py = camera.y + layout.y[seat]! * camera.scale;
      context.fillText(String(house.seats[seat]!.number), px, py + 0.5);
    }
  }
}

function paintStage(context: CanvasRenderingContext2D, layout: Layout, camera: Camera, palette: Palette): void {
  const { scale } = camera;
  const width = layout.stageWidth * scale;
  const middle = camera.x + (layout.width / 2) * scale;
  const top = camera.y + 0.6 * scale;
  context.fillStyle = palette.stage;
  context.beginPath();
  context.moveTo(middle - width / 2, top);
  context.lineTo(middle + width / 2, top);
  context.quadraticCurveTo(middle, top + scale * 5.6, middle - width / 2, top);
  context.fill();
}

function paintLabels(context: CanvasRenderingContext2D, layout: Layout, camera: Camera, palette: Palette): void {
  const { scale } = camera;
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (const section of layout.sections) {
    const room = section.width * scale;
    const size = Math.min(15, Math.max(10, scale * 1.2));
    context.font = `600 ${size}px system-ui, -apple-system, "Apple SD Gothic Neo", "Noto Sans KR", sans-serif`;
    if (room < 36 || scale < 2.2) continue;
    context.fillStyle = palette.ink;
    context.fillText(section.name, camera.x + section.labelX * scale, camera.y + section.labelY * scale, room);
    if (scale < 12) continue;
    context.fillStyle = palette.muted;
    context.font = `500 ${Math.min(12, scale * 0.5)}px system-ui, sans-serif`;
    context.textAlign = "right";
    for (const row of section.rows) {
      const first = row.seats[0];
      if (first === undefined) continue;
      const px = camera.x + (layout.x[first]! - 0.8) * scale;
      context.fillText(row.name, px, camera.y + layout.y[first]! * scale);
    }
    context.textAlign = "center";
  }
}

/** What lies over the seats: selection, conflicts, the keyboard's cursor. */
export function paintMarks(
  context: CanvasRenderingContext2D,
  layout: Layout,
  camera: Camera,
  palette: Palette,
  marks: Marks,
  width: number,
  height: number,
): void {
  context.clearRect(0, 0, width, height);
  const { scale } = camera;
  const box = (seat: number, grow: number): [number, number, number, number] => {
    const size = Math.max(scale * SIZE, 5) + grow * 2;
    return [camera.x + layout.x[seat]! * scale - size / 2, camera.y + layout.y[seat]! * scale - size / 2, size, size];
  };
  const outline = (seat: number, color: string, grow: number, lineWidth: number): void => {
    const [left, top, size] = box(seat, grow);
    context.strokeStyle = color;
    context.lineWidth = lineWidth;
    context.beginPath();
    context.roundRect(left, top, size, size, size * 0.28);
    context.stroke();
  };
  if (marks.hover >= 0) outline(marks.hover, palette.focus, 1, 1.5);
  for (const seat of marks.selected) {
    const [left, top, size] = box(seat, 1);
    context.fillStyle = palette.selected;
    context.beginPath();
    context.roundRect(left, top, size, size, size * 0.28);
    context.fill();
    if (size < 9) continue;
    context.strokeStyle = palette.onSelected;
    context.lineWidth = Math.max(1.5, size * 0.11);
    context.lineCap = "round";
    context.lineJoin = "round";
    context.beginPath();
    context.moveTo(left + size * 0.28, top + size * 0.53);
    context.lineTo(left + size * 0.44, top + size * 0.68);
    context.lineTo(left + size * 0.73, top + size * 0.35);
    context.stroke();
  }
  for (const seat of marks.conflicts) outline(seat, palette.conflict, 2.5, 2.5);
  if (marks.cursor >= 0) outline(marks.cursor, palette.focus, 3, 2);
  if (marks.area) {
    const { left, top, right, bottom } = marks.area;
    context.strokeStyle = palette.selected;
    context.lineWidth = 1.5;
    context.setLineDash([5, 4]);
    context.strokeRect(camera.x + left * scale, camera.y + top * scale, (right - left) * scale, (bottom - top) * scale);
    context.setLineDash([]);
  }
}
