// Tables. On a phone each row of a wide one becomes a card, whose values name their columns.

import type { ComponentChildren } from "preact";

export interface Column<T> {
  label: string;
  /** Whether the values speak for themselves, so that the label is for screen readers alone. */
  isPlain?: boolean;
  isNumber?: boolean;
  /** Whether the value is the row's own name. */
  isName?: boolean;
  cell: (row: T) => ComponentChildren;
}

/** The roles are stated, because a browser may forget those of a table that is laid out as cards. */
export function Table<T>({ label, columns, rows, keyOf, layout }: {
  label: string;
  columns: readonly Column<T>[];
  rows: readonly T[];
  keyOf: (row: T) => string | number;
  layout: "cards" | "ledger" | "close";
}) {
  const number = (it: Column<T>): string | undefined => (it.isNumber ? "number" : undefined);
  return (
    <Wide label={label}>
      <table class={layout} role="table" aria-label={label}>
        <thead role="rowgroup">
          <tr role="row">
            {columns.map((it) => (
              <th key={it.label} scope="col" role="columnheader" class={number(it)}>
                {it.isPlain ? <span class="visually-hidden">{it.label}</span> : it.label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {rows.map((row) => (
            <tr key={keyOf(row)} role="row">
              {columns.map((it) => it.isName ? (
                <th key={it.label} scope="row" role="rowheader" data-label={it.label}>{it.cell(row)}</th>
              ) : (
                <td key={it.label} role="cell" class={number(it)} data-label={it.isPlain ? undefined : it.label}>{it.cell(row)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </Wide>
  );
}

/** What may be wider than the screen: it scrolls, also by keyboard. */
function Wide({ label, children }: { label: string; children: ComponentChildren }) {
  return <div class="scroll" role="region" aria-label={label} tabIndex={0}>{children}</div>;
}
