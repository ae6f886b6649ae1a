// Waiting, active and sold over time, each on its own scale.

import { number, t } from "../language";

export interface Point {
  waiting: number;
  active: number;
  sold: number;
}

const WIDTH = 600;
const HEIGHT = 64;

export function Trend({ points }: { points: readonly Point[] }) {
  const text = t().operator;
  const rows = [
    ["waiting", text.waiting],
    ["active", text.active],
    ["sold", text.sold],
  ] as const;
  return (
    <div class="trend">
      {rows.map(([name, label]) => {
        const values = points.map((point) => point[name]);
        const most = Math.max(1, ...values);
        const step = WIDTH / Math.max(1, values.length - 1);
        const line = values.map((value, at) => `${(at * step).toFixed(1)},${(HEIGHT - 4 - (value / most) * (HEIGHT - 12)).toFixed(1)}`);
        const now = values.at(-1) ?? 0;
        return (
          <figure key={name}>
            <figcaption><span>{label}</span> <strong>{number(now)}</strong></figcaption>
            <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`${label}: ${number(now)}`}>
              {line.length > 1 && (
                <>
                  <polygon class={`area ${name}`} points={`0,${HEIGHT} ${line.join(" ")} ${WIDTH},${HEIGHT}`} />
                  <polyline class={`line ${name}`} points={line.join(" ")} />
                </>
              )}
            </svg>
          </figure>
        );
      })}
    </div>
  );
}
