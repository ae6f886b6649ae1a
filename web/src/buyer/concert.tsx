// One concert: what, when, how many seats are left, and how its queue stands.

import { call, type Schemas } from "../api/client";
import { deadlineIn, serverNow, useCountdown } from "../api/clock";
import { ENDED, join, queueOf } from "../api/queue";
import { isLoggedIn } from "../api/session";
import { clock, dayAndTime, dayLong, number, prices, t, time } from "../language";
import { Button, Notice, Skeleton, Title, Trouble, Unavailable } from "../parts/basics";
import { useAction, useLoad } from "../parts/load";
import { ListState, usePages } from "../parts/pages";
import { Poster } from "../parts/poster";
import { go } from "../router";
import { DrawCheck } from "./drawcheck";
import { intend } from "./queue";

type Concert = Schemas["ConcertDetailsResponse"];
type Performance = Schemas["PerformanceResponse"];

export function ConcertView({ concertId }: { concertId: number }) {
  const text = t().concert;
  const concert = useLoad(`${concertId}`, (signal) =>
    call("GET /concerts/{concertId}", { path: { concertId }, anonymous: true, signal }), { onReturn: true });
  const performances = usePages(`${concertId}`, (cursor, signal) =>
    call("GET /concerts/{concertId}/performances", { path: { concertId }, query: { cursor, limit: 50 }, anonymous: true, signal }), 5);
  if (!concert.data) {
    if (!concert.error) return <Skeleton lines={8} />;
    return <Unavailable error={concert.error} retry={concert.reload} to="/" label={t().trouble.toConcerts} />;
  }
  const { title, artist, category, description, salesOpenAt, queueMode } = concert.data;
  const opensLater = salesOpenAt && new Date(salesOpenAt).getTime() > serverNow();
  return (
    <>
      <header class="concert-head">
        <Poster id={concertId} category={category} />
        <div>
          <p class="eyebrow">{category}</p>
          <Title>{title}</Title>
          <p class="artist">{artist}</p>
          {description && <p class="description">{description}</p>}
          {concert.data.minPrice && concert.data.maxPrice && (
            <p class="facts"><span>{prices(concert.data.minPrice, concert.data.maxPrice)}</span></p>
          )}
        </div>
      </header>
      {opensLater && <Opening concert={concert.data} reload={concert.reload} />}
      {queueMode === "PAUSED" && <Notice kind="warn">{text.paused}</Notice>}
      <section aria-labelledby="dates">
        <h2 id="dates">{text.dates}</h2>
        {queueMode === "OPEN" && !opensLater && <p class="muted">{text.openMode}</p>}
        <ListState of={performances} none={text.noDates} />
        <ul class="dates">
          {performances.items?.map((it) => <Date_ key={it.performanceId} performance={it} opensLater={Boolean(opensLater)} />)}
        </ul>
        {performances.more}
      </section>
      {salesOpenAt && <DrawCheck concertId={concertId} />}
    </>
  );
}

function Opening({ concert, reload }: { concert: Concert; reload: () => void }) {
  const text = t().concert;
  const opensAt = concert.salesOpenAt ?? "";
  // A hint, to a second or so; the server decides.
  const left = useCountdown(useDeadline(opensAt), reload);
  return (
    <Notice>
      <p><strong>{text.opens(dayAndTime(opensAt))}</strong> {left !== null && left > 0 && <span class="nowrap">{text.opensIn} {clock(left)}</span>}</p>
      <p>{text.drawNote}</p>
    </Notice>
  );
}

const deadlines = new Map<string, number | null>();
function useDeadline(at: string): number | null {
  if (!deadlines.has(at)) deadlines.set(at, deadlineIn((new Date(at).getTime() - serverNow()) / 1000));
  return deadlines.get(at) ?? null;
}

function Date_({ performance, opensLater }: { performance: Performance; opensLater: boolean }) {
  const text = t().concert;
  const { concertId, performanceId, startsAt, venue, totalSeats, availableSeats, soldOut } = performance;
  const place = queueOf(concertId).place.value;
  const standing = place && !ENDED.has(place.status) ? place.status : null;
  const to = `/concerts/${concertId}/performances/${performanceId}`;
  const { run, busy, error } = useAction(async () => {
    // Without a login the view asks for it, and joins afterwards.
    if (!isLoggedIn.value) intend(concertId);
    else if (!standing) await join(concertId);
    go(to);
  });
  const label = standing === "ACTIVE" ? text.goOn : standing ? text.inQueue : opensLater ? text.toTheDraw : text.choose;
  const share = totalSeats > 0 ? availableSeats / totalSeats : 0;
  return (
    <li class="date">
      <div class="date-when">
        <strong>{dayLong(startsAt)}</strong>
        <span>{time(startsAt)} · {venue.name}</span>
      </div>
      <div class="date-free">
        <meter min={0} max={1} low={0.1} optimum={1} value={share} aria-label={text.free(number(availableSeats), number(totalSeats))} />
        <span>{soldOut ? text.soldOut : text.free(number(availableSeats), number(totalSeats))}</span>
        <span class="muted">{prices(performance.minPrice, performance.maxPrice)}</span>
      </div>
      <Button kind={soldOut && standing !== "ACTIVE" ? "plain" : "primary"} busy={busy} onClick={() => void run()}>{label}</Button>
      {error ? <div class="wide"><Trouble error={error} /></div> : null}
    </li>
  );
}
