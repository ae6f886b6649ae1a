// The place in the queue: while one waits, and as a reminder on the other views.

import { useEffect, useState } from "preact/hooks";
import { ask, ENDED, join, leave, queueOf, type Place } from "../api/queue";
import { useCountdown } from "../api/clock";
import { session } from "../api/session";
import { call, Failure } from "../api/client";
import { clock, dayAndTime, duration, number, t } from "../language";
import { Button, Notice, Skeleton, Sure, Title, Trouble } from "../parts/basics";
import { useAction, useLoad } from "../parts/load";
import { place as address } from "../router";

/** What stands in front of the seats, until the token is active. */
export function QueueView({ concertId, title }: { concertId: number; title: string }) {
  const text = t().queue;
  const queue = queueOf(concertId);
  const place = queue.place.value;
  const token = session.value?.queueTokens[concertId];
  const joining = useAction(() => join(concertId));
  // Once one waits, the place itself says that the queue stands: it has no estimate then.
  const concert = useLoad(`${concertId}-${place?.status}`, (signal) =>
    call("GET /concerts/{concertId}", { path: { concertId }, anonymous: true, signal }), { onReturn: true });

  if (token && !place) {
    return queue.refused.value ? <Trouble error={queue.refused.value} retry={() => void ask(concertId)} /> : <Skeleton />;
  }
  if (!place || ENDED.has(place.status)) {
    const ended = place?.status;
    return (
      <div class="narrow card queue">
        <Title>{ended === "EXPIRED" ? text.expired : ended === "COMPLETED" ? text.completed : ended === "LEFT" ? text.left : text.title}</Title>
        <p>{ended === "EXPIRED" ? text.expiredText : ended === "COMPLETED" ? text.completedText : ended === "LEFT" ? text.leftText : text.joinText}</p>
        {concert.data?.queueMode === "PAUSED" && <Notice kind="warn">{t().concert.paused}</Notice>}
        {joining.error ? <Trouble error={joining.error} /> : null}
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
  return (
    <div class="narrow card queue">
      <Title>{title}</Title>
      {place.status === "SCHEDULED" ? (
        <>
          <p class="queue-state">{text.scheduled}</p>
          <p>{text.scheduledText}</p>
          {concert.data?.salesOpenAt && <p class="muted">{t().concert.opens(dayAndTime(concert.data.salesOpenAt))}</p>}
        </>
      ) : (
        <Waiting place={place} />
      )}
      <p class="muted">{text.keepOpen}</p>
      <div class="queue-foot">
        <Live state={queue.state.value} />
        <Sure label={text.leave} question={text.leaveSure} act={() => leave(concertId)} />
      </div>
    </div>
  );
}

function Waiting({ place }: { place: Place }) {
  const text = t().queue;
  const position = place.position ?? 0;
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

/** On every other view: the queues that the visitor stands in, and above all a turn that has come. */
export function QueueChips() {
  const tokens = Object.keys(session.value?.queueTokens ?? {}).map(Number);
  const { parts } = address.value;
  const here = parts[0] === "concerts" && parts[2] === "performances" ? Number(parts[1]) : null;
  // A booking has a countdown of its own.
  if (parts[0] === "bookings" && parts[1]) return null;
  const chips = tokens.filter((concertId) => concertId !== here).map((concertId) => <Chip key={concertId} concertId={concertId} />);
  return chips.length > 0 ? <div class="chips">{chips}</div> : null;
}

function Chip({ concertId }: { concertId: number }) {
  const text = t().queue;
  const place = queueOf(concertId).place.value;
  const left = useCountdown(place?.status === "ACTIVE" ? place.deadline : null);
  const [title, setTitle] = useState("");
  useEffect(() => {
    call("GET /concerts/{concertId}", { path: { concertId }, anonymous: true }).then(
      (concert) => setTitle(concert.title),
      () => {},
    );
  }, [concertId]);
  if (!place || ENDED.has(place.status)) return null;
  const active = place.status === "ACTIVE";
  const what = active ? text.active : place.status === "SCHEDULED" ? text.scheduled : `${text.place}: ${number(place.position ?? 0)}`;
  return (
    <a class={`chip ${active ? "active" : ""}`} href={`#/concerts/${concertId}${lastSale(concertId)}`}>
      <span>{title}</span>
      <strong>{what}</strong>
      {left !== null && <span class="nowrap">{clock(left)}</span>}
    </a>
  );
}

/** The performance of a concert that was looked at last, to come back to. */
export function lastSale(concertId: number): string {
  const performanceId = sessionStorage.getItem(`sale:${concertId}`);
  return performanceId ? `/performances/${performanceId}` : "";
}

export function rememberSale(concertId: number, performanceId: number): void {
  sessionStorage.setItem(`sale:${concertId}`, String(performanceId));
}
