// One sale as it happens: its queue, its figures, its performances, and how the instance fares.

import { useEffect, useRef, useState } from "preact/hooks";
import { Failure, call, type Schemas } from "../api/client";
import { useConcert } from "../buyer/catalogue";
import { dayAndTime, number, percent, points, t } from "../language";
import { sum } from "../money";
import { Icon, Skeleton, Title, Trouble, Unavailable } from "../parts/basics";
import { useLoad } from "../parts/load";
import { Instance } from "./instance";
import { QueueForm } from "./queueform";
import { Trend, type Point } from "./trend";

/** How many points the trend keeps: ten minutes. */
const TREND_POINTS = 300;

export function SaleLive({ concertId }: { concertId: number }) {
  const text = t().operator;
  const concert = useConcert(concertId);
  const queue = useLoad(`${concertId}`, (signal) =>
    call("GET /admin/concerts/{concertId}/queue", { path: { concertId }, signal }), { everySeconds: 2 });
  const sales = useLoad(`${concertId}`, (signal) =>
    call("GET /admin/concerts/{concertId}/sales", { path: { concertId }, signal }), { everySeconds: 2 });
  const trend = useRef<Point[]>([]);
  const [, setDrawn] = useState(0);
  const performances = sales.data?.performances ?? [];
  const of = (read: (it: Schemas["PerformanceSalesResponse"]) => number): number => performances.reduce((total, it) => total + read(it), 0);
  const sold = of((it) => it.soldSeats);
  useEffect(() => {
    if (!queue.data || !sales.data) return;
    const { waiting, active } = queue.data.live;
    trend.current = [...trend.current, { waiting, active, sold }].slice(-TREND_POINTS);
    setDrawn((count) => count + 1);
  }, [queue.data]);
  const error = queue.error ?? sales.error;
  const retry = (): void => (queue.reload(), sales.reload());
  if (!queue.data || !sales.data) {
    return error ? <Unavailable error={error} retry={retry} to="/operator" label={text.sales} /> : <Skeleton lines={8} />;
  }
  const { live, maxActive } = queue.data;
  const total = of((it) => it.totalSeats);
  return (
    <>
      <header class="sale-head">
        <div>
          <a class="back" href="#/operator"><Icon name="back" />{text.sales}</a>
          <Title>{concert?.title ?? "…"}</Title>
          <p class="muted">{concert?.artist}</p>
        </div>
        <span class={`tag mode ${queue.data.mode.toLowerCase()}`}>{text.modeOf[queue.data.mode]}</span>
      </header>
      {error instanceof Failure && error.isFinal && <Trouble error={error} />}
      <section class="figures" aria-label={text.sales}>
        <Figure label={text.waiting} value={number(live.waiting)} />
        <Figure label={text.active} value={number(live.active)} note={text.ofMax(number(maxActive))} />
        <Figure label={text.admitted} value={number(live.admittedLastMinute)} />
        <Figure label={text.held} value={number(of((it) => it.heldSeats))} />
        <Figure label={text.sold} value={number(sold)} note={total > 0 ? percent(sold / total) : ""} />
        <Figure label={text.revenue} value={points(sum(performances.map((it) => it.revenue)))} />
      </section>
      <div class="operator-grid">
        <section class="card">
          <h2>{text.trend}</h2>
          <Trend points={trend.current} />
        </section>
        <QueueForm settings={queue.data} applied={queue.set} />
      </div>
      <section class="card">
        <div class="title-row">
          <h2>{text.performances}</h2>
          <a href={`#/operator/bookings?concertId=${concertId}`}>{text.bookings}</a>
        </div>
        {performances.length === 0 && <p class="muted">{t().concert.noDates}</p>}
        <ul class="houses">
          {performances.map((it) => <Occupancy key={it.performanceId} sales={it} />)}
        </ul>
      </section>
      <Instance />
    </>
  );
}

function Figure({ label, value, note }: { label: string; value: string; note?: string }) {
  return (
    <div class="figure">
      <span>{label}</span>
      <strong>{value}</strong>
      {note && <span class="hint">{note}</span>}
    </div>
  );
}

function Occupancy({ sales }: { sales: Schemas["PerformanceSalesResponse"] }) {
  const text = t().operator;
  const { totalSeats, soldSeats, heldSeats, availableSeats } = sales;
  const blocked = Math.max(0, totalSeats - soldSeats - heldSeats - availableSeats);
  const share = (part: number): string => `${totalSeats > 0 ? (100 * part) / totalSeats : 0}%`;
  return (
    <li>
      <div>
        <strong>{dayAndTime(sales.startsAt)}</strong>
        <span class="muted">{sales.venue.name}</span>
      </div>
      <div>
        <div class="stack" aria-hidden="true">
          <i class="sold" style={{ width: share(soldSeats) }} />
          <i class="held" style={{ width: share(heldSeats) }} />
          <i class="blocked" style={{ width: share(blocked) }} />
        </div>
        <p class="facts">
          <span>{text.sold} {number(soldSeats)}</span>
          <span>{text.held} {number(heldSeats)}</span>
          {blocked > 0 && <span>{text.blocked} {number(blocked)}</span>}
          <span>{text.free} {number(availableSeats)}</span>
          <span>{points(sales.revenue)}</span>
        </p>
      </div>
      <a class="button plain small" href={`#/operator/performances/${sales.performanceId}`}>{text.openHouse}</a>
    </li>
  );
}
