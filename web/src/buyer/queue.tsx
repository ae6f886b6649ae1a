// The place in the queue: while one waits, and as a reminder on the other views.

import { useEffect } from "preact/hooks";
import { ENDED, followAgain, join, leave, queueOf, type Place } from "../api/queue";
import { useCountdown } from "../api/clock";
import { session } from "../api/session";
import { tabStorage } from "../api/storage";
import { call, Failure } from "../api/client";
import { clock, dayAndTime, duration, number, t } from "../language";
import { Button, Notice, Skeleton, Sure, Title, Trouble } from "../parts/basics";
import { useAction, useLoad } from "../parts/load";
import { place as address } from "../router";
import { useConcert } from "./catalogue";

/** The concert whose tickets a visitor wanted before logging in. */
let intended: number | null = null;

/** Has the place in a queue taken as soon as there is a login. */
export function intend(concertId: number): void {
  intended = concertId;
}

/** What stands in front of the seats, until the token is active. */
export function QueueView({ concertId, title }: { concertId: number; title: string }) {
  const text = t().queue;
  const queue = queueOf(concertId);
  const place = queue.place.value;
  const token = session.value?.queueTokens[concertId];
  const joining = useAction(() => join(concertId));
  useEffect(() => {
    if (intended === concertId && !token) void joining.run();
    intended = null;
  }, []);
  // Once one waits, the place itself says that the queue stands: it has no estimate then.
  const concert = useLoad(`${concertId}-${place?.status}`, (signal) =>
    call("GET /concerts/{concertId}", { path: { concertId }, anonymous: true, signal }), { onReturn: true });

  const refused = queue.refused.value;
  const trouble = refused && <Trouble error={refused} retry={() => followAgain(concertId)} />;
  if (token && !place) {
    return trouble ? <div class="narrow card queue"><Title>{title}</Title>{trouble}</div> : <Skeleton />;
  }
  if (!place || ENDED.has(place.status)) {
    const ended = place?.status;
    return (
      <div class="narrow card queue" key={ended}>
        <Title>{ended === "EXPIRED" ? text.expired : ended === "COMPLETED" ? text.completed : ended === "LEFT" ? text.left : text.title}</Title>
        <p>{ended === "EXPIRED" ? text.expiredText : ended === "COMPLETED" ? text.completedText : ended === "LEFT" ? text.leftText : text.joinText}</p>
        {concert.data?.queueMode === "PAUSED" && <Notice kind="warn">{t().concert.paused}</Notice>}
        {joining.error ? <Trouble error={joining.error} /> : trouble}
        {joining.error instanceof Failure && joining.error.code === "EMAIL_NOT_VERIFIED" && (
          <a class="button primary" href="#/account">{text.verifyFirst}</a>
        )}
        <div class="buttons">
          <Button kind="primary" busy={joining.busy} onClick={() => void joining.run()}>{ended ? text.again : text.join}</Button>
          {ended === "COMPLETED" && <a class="button plain" href="#/bookings">{text.toBookings}</a>}
        </div>
      </div>
    );
  }
  const position = place.position ?? 0;
  return (
    <div class="narrow card queue" key="waiting">
      <Title tab={position > 0 ? `${number(position)} · ${title}` : title}>{title}</Title>
      {place.status === "SCHEDULED" ? (
        <>
          <p class="queue-state">{text.scheduled}</p>
          <p>{text.scheduledText}</p>
          {concert.data?.salesOpenAt && <p class="muted">{t().concert.opens(dayAndTime(concert.data.salesOpenAt))}</p>}
        </>
      ) : (
        <Waiting place={place} position={position} />
      )}
      {refused && !refused.passes && trouble}
      <p class="muted">{text.keepOpen}</p>
      <div class="queue-foot">
        <Live state={queue.state.value} />
        <Sure label={text.leave} question={text.leaveSure} act={() => leave(concertId)} />
      </div>
    </div>
  );
}

function Waiting({ place, position }: { place: Place; position: number }) {
  const text = t().queue;
  const { p50Seconds, p90Seconds } = place.estimatedWait ?? {};
  const paused = typeof p50Seconds !== "number";
  const progress = place.firstPosition > 1 ? 1 - (position - 1) / (place.firstPosition - 1) : 0;
  return (
    <>
      <p class="muted">{text.place}</p>
      <p class="queue-place" aria-live="polite" aria-atomic="true">{number(position)}</p>
      <p>{position <= 1 ? text.next : text.ahead(number(position - 1))}</p>
      <progress max={1} value={progress} aria-label={text.place} />
      {paused ? (
        <Notice kind="warn"><strong>{text.paused}</strong> {text.pausedText}</Notice>
      ) : (
        <p>{text.estimate(duration(p50Seconds), duration(p90Seconds ?? p50Seconds))}</p>
      )}
    </>
  );
}

export function Live({ state }: { state: "stream" | "poll" | "lost" }) {
  const text = t().queue;
  return <span class={`live ${state}`}>{state === "stream" ? text.live : state === "poll" ? text.polling : text.lost}</span>;
}

/** The concert whose queue or seats the view shows, or null. */
function shownConcert(): number | null {
  const { parts } = address.value;
  return parts[0] === "concerts" && parts[2] === "performances" ? Number(parts[1]) : null;
}

/** Whether the views of bookings are shown: they have a countdown of their own. */
const isBooking = (): boolean => address.value.parts[0] === "bookings" && Boolean(address.value.parts[1]);

const joined = (): number[] => Object.keys(session.value?.queueTokens ?? {}).map(Number);

/** Whether a turn has come in a queue that the view doesn't show. */
export function turnElsewhere(): boolean {
  const here = shownConcert();
  return !isBooking() && joined().some((concertId) => concertId !== here && queueOf(concertId).place.value?.status === "ACTIVE");
}

/** On every other view: the queues that the visitor stands in, and above all a turn that has come. */
export function QueueChips() {
  const here = shownConcert();
  if (isBooking()) return null;
  const chips = joined().filter((concertId) => concertId !== here).map((concertId) => <Chip key={concertId} concertId={concertId} />);
  return chips.length > 0 ? <div class="chips">{chips}</div> : null;
}

function Chip({ concertId }: { concertId: number }) {
  const text = t().queue;
  const place = queueOf(concertId).place.value;
  const left = useCountdown(place?.status === "ACTIVE" ? place.deadline : null);
  const title = useConcert(concertId)?.title;
  if (!place || ENDED.has(place.status)) return null;
  const active = place.status === "ACTIVE";
  const what = active ? text.active : place.status === "SCHEDULED" ? text.scheduled : `${text.place}: ${number(place.position ?? 0)}`;
  return (
    <>
      <p class="visually-hidden" role="status">{active && title ? `${title}: ${text.active}` : ""}</p>
      <a class={`chip ${active ? "active" : ""}`} href={`#/concerts/${concertId}${lastSale(concertId)}`}>
        <span>{title}</span>
        <strong>{what}</strong>
        {left !== null && <span class="nowrap">{clock(left)}</span>}
      </a>
    </>
  );
}

/** The performance of a concert that was looked at last, to come back to. */
export function lastSale(concertId: number): string {
  const performanceId = tabStorage.getItem(`sale:${concertId}`);
  return performanceId ? `/performances/${performanceId}` : "";
}

export function rememberSale(concertId: number, performanceId: number): void {
  tabStorage.setItem(`sale:${concertId}`, String(performanceId));
}
