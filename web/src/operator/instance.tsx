// How the instance that answers fares: lanes, requests, problems.

import { useRef } from "preact/hooks";
import { Failure } from "../api/client";
import { number, t } from "../language";
import { Notice, Wide } from "../parts/basics";
import { useLoad } from "../parts/load";
import { History, byLabel, parseMetrics, total } from "./metrics";

async function readMetrics(signal: AbortSignal): Promise<string> {
  const response = await fetch("/metrics", { signal, cache: "no-store" }).catch(() => {
    throw new Failure(0, "NETWORK", {});
  });
  if (!response.ok) throw new Failure(response.status, "NOT_FOUND", {});
  return response.text();
}

const one = (value: number): string => number(Math.round(value * 10) / 10);

export function Instance() {
  const text = t().operator;
  const history = useRef(new History());
  const metrics = useLoad("metrics", async (signal) => {
    history.current.add(parseMetrics(await readMetrics(signal)));
    return performance.now();
  }, { everySeconds: 2 });
  const past = history.current;
  const last = past.last;
  return (
    <section class="card">
      <h2>{text.instance}</h2>
      <p class="hint">{text.instanceText}</p>
      {metrics.error && !last ? <Notice kind="warn">{text.noMetrics}</Notice> : null}
      {last && (
        <div class="operator-grid">
          <Wide label={text.lanes}>
            <table>
              <thead>
                <tr>
                  <th scope="col">{text.lane}</th>
                  <th scope="col" class="number">{text.depth}</th>
                  <th scope="col" class="number">{text.perSecond}</th>
                  <th scope="col" class="number">{text.waitMs}</th>
                </tr>
              </thead>
              <tbody>
                {[...byLabel(last, "lane_depth", "lane")].map(([lane, depth]) => {
                  const of = (labels: Record<string, string>): boolean => labels.lane === lane;
                  const count = past.growth(10, (it) => total(it, "lane_wait_seconds_count", of));
                  const seconds = past.growth(10, (it) => total(it, "lane_wait_seconds_sum", of));
                  return (
                    <tr key={lane}>
                      <th scope="row">{lane}</th>
                      <td class="number">{number(depth)}</td>
                      <td class="number">{one(count ? count.by / count.seconds : 0)}</td>
                      <td class="number">{count?.by && seconds ? `${one((1000 * seconds.by) / count.by)} ms` : "–"}</td>
                    </tr>
                  );
                })}
              </tbody>
            </table>
          </Wide>
          <div>
            <dl class="sums">
              <dt>{text.requests}</dt>
              <dd>{one(past.rate(10, (it) => total(it, "http_request_seconds_count")))}</dd>
              <dt>{text.streams}</dt>
              <dd>{number(total(last, "queue_followers") + total(last, "seat_map_followers"))}</dd>
            </dl>
            <h3>{text.problems}</h3>
            <Problems history={past} />
          </div>
        </div>
      )}
    </section>
  );
}

function Problems({ history }: { history: History }) {
  const text = t().operator;
  const last = history.last;
  const rows = [...(last ? byLabel(last, "http_problems_total", "code").keys() : [])]
    .map((code) => [code, history.growth(60, (it) => total(it, "http_problems_total", (labels) => labels.code === code))?.by ?? 0] as const)
    .filter(([, count]) => count > 0)
    .sort((a, b) => b[1] - a[1]);
  if (rows.length === 0) return <p class="muted">{text.noProblems}</p>;
  return (
    <dl class="sums">
      {rows.map(([code, count]) => [<dt key={code}><code>{code}</code></dt>, <dd key={`${code}-count`}>{number(count)}</dd>])}
    </dl>
  );
}
