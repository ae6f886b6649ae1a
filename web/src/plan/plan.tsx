// The seat plan: a canvas that pans, zooms and selects, by mouse, finger and keyboard.

import type { RefObject } from "preact";
import { useEffect, useId, useMemo, useRef, useState } from "preact/hooks";
import type { House } from "../api/seats";
import { points, t } from "../language";
import { Icon } from "../parts/basics";
import type { Layout } from "./layout";
import { paint, paintMarks, readPalette, type Camera, type Palette } from "./paint";

interface PlanProps {
  house: House;
  layout: Layout;
  selected: ReadonlySet<number>;
  conflicts: ReadonlySet<number>;
  /** A seat was clicked, tapped or entered. */
  onSeat: (seat: number) => void;
  /** All seats of an area were selected; without it, areas can't be. */
  onArea?: (seats: number[]) => void;
}

/** A finger needs this many pixels to mean one seat. */
const TOUCH_PIXELS = 15;
/** Larger houses are moved as a picture. */
const LARGE = 20_000;
const MAX_SCALE = 46;

/** What the event handlers share; changing it paints, and renders nothing. */
class Painter {
  camera: Camera = { scale: 1, x: 0, y: 0 };
  width = 0;
  height = 0;
  cursor = -1;
  hover = -1;
  area: { left: number; top: number; right: number; bottom: number } | null = null;
  moving = false;
  private palette: Palette;
  private frame = 0;
  private rest = 0;
  private seatsAreOld = true;
  /** The picture of a large house, and the camera it was taken with. */
  private picture: { canvas: HTMLCanvasElement; camera: Camera } | null = null;

  constructor(
    private readonly base: HTMLCanvasElement,
    private readonly marks: HTMLCanvasElement,
    private readonly house: House,
    private readonly layout: Layout,
    private readonly sets: RefObject<PlanProps>,
  ) {
    this.palette = readPalette(base);
  }

  repaint(seats: boolean): void {
    this.seatsAreOld ||= seats;
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      if (this.seatsAreOld) this.paintSeats();
      this.seatsAreOld = false;
      const context = this.marks.getContext("2d");
      const props = this.sets.current;
      if (context && props) {
        paintMarks(context, this.layout, this.camera, this.palette, { ...this, ...props }, this.width, this.height);
      }
    });
  }

  recolor(): void {
    this.palette = readPalette(this.base);
    this.picture = null;
    this.repaint(true);
  }

  private paintSeats(): void {
    const context = this.base.getContext("2d");
    if (!context) return;
    const large = this.layout.x.length > LARGE;
    if (large && this.moving && this.picture) {
      const { canvas, camera } = this.picture;
      const zoom = this.camera.scale / camera.scale;
      context.clearRect(0, 0, this.width, this.height);
      const left = this.camera.x - camera.x * zoom;
      const top = this.camera.y - camera.y * zoom;
      context.drawImage(canvas, left, top, this.width * zoom, this.height * zoom);
      clearTimeout(this.rest);
      this.rest = setTimeout(() => {
        this.moving = false;
        this.repaint(true);
      }, 90);
      return;
    }
    paint(context, this.house, this.layout, this.camera, this.palette, this.width, this.height);
    if (!large) return;
    this.picture ??= { canvas: document.createElement("canvas"), camera: this.camera };
    this.picture.canvas.width = this.base.width;
    this.picture.canvas.height = this.base.height;
    this.picture.camera = { ...this.camera };
    this.picture.canvas.getContext("2d")?.drawImage(this.base, 0, 0);
  }

  resize(width: number, height: number): void {
    const first = this.width === 0;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    for (const canvas of [this.base, this.marks]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.getContext("2d")?.setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    this.width = width;
    this.height = height;
    if (first) this.fit();
    this.repaint(true);
  }

  get fitScale(): number {
    return Math.min(this.width / (this.layout.width + 2), this.height / (this.layout.height + 1), 26);
  }

  fit(): void {
    const scale = this.fitScale;
    this.camera = { scale, x: (this.width - this.layout.width * scale) / 2, y: (this.height - this.layout.height * scale) / 2 };
    this.repaint(true);
  }

  zoom(factor: number, px = this.width / 2, py = this.height / 2): void {
    const scale = Math.min(Math.max(this.camera.scale * factor, this.fitScale * 0.9), MAX_SCALE);
    const real = scale / this.camera.scale;
    this.moveTo(scale, px - (px - this.camera.x) * real, py - (py - this.camera.y) * real);
  }

  moveTo(scale: number, x: number, y: number): void {
    this.moving = true;
    // A part of the plan always stays in sight.
    const keep = 80;
    const minX = keep - this.layout.width * scale;
    const minY = keep - this.layout.height * scale;
    this.camera = { scale, x: Math.min(Math.max(x, minX), this.width - keep), y: Math.min(Math.max(y, minY), this.height - keep) };
    this.repaint(true);
  }

  /** Moves a seat into sight, and near enough to be seen. */
  show(seat: number): void {
    const scale = Math.max(this.camera.scale, Math.min(18, MAX_SCALE));
    const [sx, sy] = [this.layout.x[seat]! * scale, this.layout.y[seat]! * scale];
    const inside = (at: number, size: number): boolean => at > 40 && at < size - 40;
    if (scale === this.camera.scale && inside(this.camera.x + sx, this.width) && inside(this.camera.y + sy, this.height)) {
      this.repaint(false);
    } else {
      this.moveTo(scale, this.width / 2 - sx, this.height / 2 - sy);
    }
  }

  toPlan(px: number, py: number): [number, number] {
    return [(px - this.camera.x) / this.camera.scale, (py - this.camera.y) / this.camera.scale];
  }

  stop(): void {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.rest);
  }
}

export function Plan(props: PlanProps) {
  const { house, layout, selected, conflicts } = props;
  const text = t().seats;
  const base = useRef<HTMLCanvasElement>(null);
  const marks = useRef<HTMLCanvasElement>(null);
  const painter = useRef<Painter | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const help = useId();
  const [said, setSaid] = useState("");
  const [tip, setTip] = useState<{ seat: number; x: number; y: number } | null>(null);
  const [areaMode, setAreaMode] = useState(false);
  const areaModeNow = useRef(false);
  areaModeNow.current = areaMode;

  useEffect(() => {
    const canvas = marks.current;
    if (!base.current || !canvas) return;
    const made = new Painter(base.current, canvas, house, layout, latest);
    painter.current = made;
    const size = new ResizeObserver(([entry]) => entry && made.resize(entry.contentRect.width, entry.contentRect.height));
    size.observe(canvas);
    const stopListening = house.listen(() => made.repaint(true));
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const recolor = (): void => made.recolor();
    dark.addEventListener("change", recolor);
    const stopPointers = follow(canvas, made, layout, latest, areaModeNow, setTip);
    return () => {
      size.disconnect();
      stopListening();
      dark.removeEventListener("change", recolor);
      stopPointers();
      made.stop();
    };
  }, [house, layout]);
  useEffect(() => painter.current?.repaint(false), [selected, conflicts]);

  const describe = (seat: number): string => {
    const it = house.seats[seat];
    if (!it) return "";
    const status = selected.has(seat) ? text.selected : text.statusOf[STATUS[house.status[seat]!]!];
    return `${t().common.seat(it.section, it.row, it.number)}, ${it.grade}, ${points(it.price)}, ${status}`;
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const made = painter.current;
    if (!made || event.ctrlKey || event.metaKey || event.altKey) return;
    const arrows: Record<string, [number, number]> = {
      ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
    };
    const arrow = arrows[event.key];
    if (arrow) {
      made.cursor = made.cursor < 0 ? firstFree(house, layout) : layout.neighbour(made.cursor, ...arrow);
      if (made.cursor >= 0) {
        made.show(made.cursor);
        setSaid(describe(made.cursor));
      }
    } else if ((event.key === "Enter" || event.key === " ") && made.cursor >= 0) {
      props.onSeat(made.cursor);
      // The selection is known once the view has rendered.
      requestAnimationFrame(() => setSaid(`${describeNow.current(made.cursor)} `));
    } else if (event.key === "+" || event.key === "=") made.zoom(1.4);
    else if (event.key === "-") made.zoom(1 / 1.4);
    else if (event.key === "0") made.fit();
    else return;
    event.preventDefault();
  };
  const describeNow = useRef(describe);
  describeNow.current = describe;
  const shown = useMemo(() => (tip ? describe(tip.seat) : ""), [tip, house.version.value, selected]);

  return (
    <div class="plan">
      <canvas ref={base} class="plan-seats" aria-hidden="true" />
      <canvas
        ref={marks}
        class={areaMode ? "plan-marks crosshair" : "plan-marks"}
        tabIndex={0}
        role="application"
        aria-roledescription={text.plan}
        aria-label={text.title}
        aria-describedby={help}
        onKeyDown={onKeyDown}
        onBlur={() => {
          if (painter.current) painter.current.cursor = -1;
          painter.current?.repaint(false);
        }}
      />
      <p id={help} class="visually-hidden">{text.help}</p>
      <p class="visually-hidden" aria-live="assertive">{said}</p>
      {tip && <p class="tip" style={{ left: `${tip.x}px`, top: `${tip.y}px` }} aria-hidden="true">{shown}</p>}
      <div class="plan-tools">
        <button type="button" aria-label={text.zoomIn} title={text.zoomIn} onClick={() => painter.current?.zoom(1.5)}><Icon name="plus" /></button>
        <button type="button" aria-label={text.zoomOut} title={text.zoomOut} onClick={() => painter.current?.zoom(1 / 1.5)}><Icon name="minus" /></button>
        <button type="button" aria-label={text.fit} title={text.fit} onClick={() => painter.current?.fit()}><Icon name="fit" /></button>
        {props.onArea && (
          <button type="button" aria-label={t().operator.area} title={t().operator.area} aria-pressed={areaMode}
            onClick={() => setAreaMode(!areaMode)}><Icon name="area" /></button>
        )}
      </div>
    </div>
  );
}

/** The free seat nearest to the stage. */
function firstFree(house: House, layout: Layout): number {
  for (const { seats } of layout.sections.flatMap((section) => section.rows)) {
    const free = seats.find((seat) => house.status[seat] === 0);
    if (free !== undefined) return free;
  }
  return layout.sections[0]?.rows[0]?.seats[0] ?? -1;
}

const STATUS = ["AVAILABLE", "HELD", "SOLD", "BLOCKED"];

/** Mouse and fingers: drag to move, pinch or wheel to zoom, click to select. */
function follow(
  canvas: HTMLCanvasElement,
  painter: Painter,
  layout: Layout,
  props: RefObject<PlanProps>,
  areaMode: RefObject<boolean>,
  setTip: (tip: { seat: number; x: number; y: number } | null) => void,
): () => void {
  const fingers = new Map<number, { x: number; y: number }>();
  let begun: { x: number; y: number; moved: boolean; area: [number, number] | null } | null = null;
  const spot = (event: MouseEvent): { x: number; y: number } => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const seatAt = ({ x, y }: { x: number; y: number }): number => layout.at(...painter.toPlan(x, y));
  const hover = (seat: number, at: { x: number; y: number } | null): void => {
    if (painter.hover === seat) return;
    painter.hover = seat;
    canvas.classList.toggle("over-seat", seat >= 0);
    painter.repaint(false);
    setTip(seat >= 0 && at ? { seat, x: Math.min(Math.max(at.x, 90), painter.width - 90), y: at.y } : null);
  };
  const abort = new AbortController();
  const on = <K extends keyof HTMLElementEventMap>(type: K, listener: (event: HTMLElementEventMap[K]) => void, passive = true): void =>
    canvas.addEventListener(type, listener, { signal: abort.signal, passive });

  on("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    const at = spot(event);
    fingers.set(event.pointerId, at);
    const area = props.current?.onArea && (event.shiftKey || areaMode.current) ? painter.toPlan(at.x, at.y) : null;
    begun = { ...at, moved: fingers.size > 1, area };
  });
  on("pointermove", (event) => {
    const at = spot(event);
    const before = fingers.get(event.pointerId);
    if (!before || !begun) {
      if (event.pointerType === "mouse") hover(painter.camera.scale >= 5 ? seatAt(at) : -1, at);
      return;
    }
    if (!begun.moved && Math.hypot(at.x - begun.x, at.y - begun.y) < 6) return;
    begun.moved = true;
    hover(-1, null);
    if (begun.area) {
      const [px, py] = painter.toPlan(at.x, at.y);
      const [ax, ay] = begun.area;
      painter.area = { left: Math.min(ax, px), right: Math.max(ax, px), top: Math.min(ay, py), bottom: Math.max(ay, py) };
      painter.repaint(false);
      return;
    }
    const others = [...fingers].filter(([id]) => id !== event.pointerId).map(([, it]) => it);
    fingers.set(event.pointerId, at);
    const other = others[0];
    if (other) {
      const factor = Math.hypot(at.x - other.x, at.y - other.y) / Math.max(1, Math.hypot(before.x - other.x, before.y - other.y));
      painter.zoom(factor, (at.x + other.x) / 2, (at.y + other.y) / 2);
    } else {
      painter.moveTo(painter.camera.scale, painter.camera.x + at.x - before.x, painter.camera.y + at.y - before.y);
    }
  });
  const lift = (event: PointerEvent): void => {
    fingers.delete(event.pointerId);
    const start = begun;
    if (fingers.size > 0) return;
    begun = null;
    if (painter.area) {
      const { left, top, right, bottom } = painter.area;
      painter.area = null;
      props.current?.onArea?.(layout.within(left, top, right, bottom));
      painter.repaint(false);
      return;
    }
    if (!start || start.moved || event.type === "pointercancel") return;
    const at = spot(event);
    const small = painter.camera.scale < (event.pointerType === "mouse" ? 6 : TOUCH_PIXELS);
    // A seat too small to be meant: come nearer first.
    if (small) painter.zoom(Math.min(3.2, 24 / painter.camera.scale), at.x, at.y);
    else {
      const seat = seatAt(at);
      if (seat >= 0) props.current?.onSeat(seat);
    }
  };
  on("pointerup", lift);
  on("pointercancel", lift);
  on("pointerleave", () => hover(-1, null));
  on("wheel", (event) => {
    // A wheel over the plan at its smallest scrolls the page.
    if (event.deltaY > 0 && painter.camera.scale <= painter.fitScale) return;
    event.preventDefault();
    const at = spot(event);
    painter.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0016)), at.x, at.y);
  }, false);
  return () => abort.abort();
}
