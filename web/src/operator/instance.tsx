// How the instance that answers fares: lanes, requests, problems.

import { useRef } from "preact/hooks";
import { Failure } from "../api/client";
import { number, t } from "../language";
import { Notice } from "../parts/basics";
import { useLoad } from "../parts/load";
import { Table, type Column } from "../parts/table";
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
  const of = (name: string, lane: string) => past.growth(10, (it) => total(it, name, (labels) => labels.lane === lane));
  const columns: Column<[string, number]>[] = [
    { label: text.lane, isName: true, cell: ([lane]) => lane },
    { label: text.depth, isNumber: true, cell: ([, depth]) => number(depth) },
    { label: text.perSecond, isNumber: true, cell: ([lane]) => {
      const count = of("lane_wait_seconds_count", lane);
      return one(count ? count.by / count.seconds : 0);
    } },
    { label: text.waitMs, isNumber: true, cell: ([lane]) => {
      const [count, seconds] = [of("lane_wait_seconds_count", lane), of("lane_wait_seconds_sum", lane)];
      return count?.by && seconds ? `${one((1000 * seconds.by) / count.by)} ms` : "–";
    } },
  ];
  return (
    <section class="card">
      <h2>{text.instance}</h2>
      <p class="hint">{text.instanceText}</p>
      {metrics.error && !last ? <Notice kind="warn">{text.noMetrics}</Notice> : null}
      {last && (
        <div class="operator-grid">
          <Table layout="close" label={text.lanes} columns={columns} rows={[...byLabel(last, "lane_depth", "lane")]} keyOf={([lane]) => lane} />
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
