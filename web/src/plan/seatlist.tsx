// The same seats as text: section, rows, seats. For screen readers, and for whoever prefers it.

import { useMemo, useState } from "preact/hooks";
import { AVAILABLE, STATUSES, type House } from "../api/seats";
import { number, points, t } from "../language";
import { Button, Select } from "../parts/basics";
import type { Layout } from "./layout";

/** Of a large section, this many rows at a time. */
const ROWS = 20;

export function SeatList({ house, layout, selected, conflicts, onSeat, withBlocked = false }: {
  house: House;
  layout: Layout;
  selected: ReadonlySet<number>;
  conflicts: ReadonlySet<number>;
  onSeat: (seat: number) => void;
  /** Blocked seats can be selected, too. */
  withBlocked?: boolean;
}) {
  const text = t().seats;
  const [name, setName] = useState(layout.sections[0]?.name ?? "");
  const [rows, setRows] = useState(ROWS);
  const version = house.version.value;
  const free = useMemo(() => {
    const counts = new Map<string, number>();
    house.seats.forEach((seat, at) => {
      if (house.status[at] === AVAILABLE) counts.set(seat.section, (counts.get(seat.section) ?? 0) + 1);
    });
    return counts;
  }, [house, version]);
  const section = layout.sections.find((it) => it.name === name) ?? layout.sections[0];
  if (!section) return null;
  return (
    <div class="seat-list">
      <Select
        label={text.chooseSection}
        value={section.name}
        onChange={(event) => (setName(event.currentTarget.value), setRows(ROWS))}
        options={layout.sections.map((it) => [
          it.name,
          `${it.name} · ${it.grade} · ${points(it.price)} · ${text.freeCount(number(free.get(it.name) ?? 0))}`,
        ])}
      />
      {section.rows.slice(0, rows).map((row) => {
        const left = row.seats.filter((seat) => house.status[seat] === AVAILABLE).length;
        return (
          <div key={row.name} role="group" aria-label={text.rowFree(row.name, left)} class="seat-row">
            <span aria-hidden="true">{row.name}</span>
            <div>
              {row.seats.map((seat) => {
                const status = STATUSES[house.status[seat]!]!;
                const it = house.seats[seat]!;
                const taken = status !== "AVAILABLE";
                return (
                  <button
                    key={seat}
                    type="button"
                    class={`seat ${status.toLowerCase()} ${conflicts.has(seat) ? "conflict" : ""}`}
                    aria-pressed={selected.has(seat)}
                    aria-label={`${t().common.seat(it.section, it.row, it.number)}, ${text.statusOf[status]}`}
                    disabled={taken && !selected.has(seat) && !(withBlocked && status === "BLOCKED")}
                    onClick={() => onSeat(seat)}
                  >
                    {it.number}
                  </button>
                );
              })}
            </div>
          </div>
        );
      })}
      {rows < section.rows.length && <Button onClick={() => setRows(rows + ROWS)}>{t().common.more}</Button>}
    </div>
  );
}
