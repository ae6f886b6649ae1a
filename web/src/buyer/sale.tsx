// The sale of one performance: first the queue, then its seats.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { attempt, forget, unfinished } from "../api/attempts";
import { Failure, type Schemas } from "../api/client";
import { secondsUntil, useCountdown } from "../api/clock";
import { ask, queueOf, type Place } from "../api/queue";
import { AVAILABLE, followHouse, type FollowedHouse, type House } from "../api/seats";
import { session } from "../api/session";
import { clock, dayAndTime, number, points, t } from "../language";
import { sum } from "../money";
import { Button, Icon, Notice, Reminder, Select, Skeleton, Title, Trouble, Unavailable, explain } from "../parts/basics";
import { useAction } from "../parts/load";
import { layOut, type Layout } from "../plan/layout";
import { Plan } from "../plan/plan";
import { SeatList } from "../plan/seatlist";
import { go } from "../router";
import { useConcert, useLoadedPerformance, usePerformance } from "./catalogue";
import { noteBooking } from "./held";
import { Live, QueueView, rememberSale } from "./queue";

type HoldBody = Schemas["HoldRequest"];

/** More than any sale lets one person have; the server knows the limit. */
const MOST_SEATS = 10;

export function Sale({ concertId, performanceId }: { concertId: number; performanceId: number }) {
  const place = queueOf(concertId).place.value;
  const concert = useConcert(concertId);
  const { data: performance, error } = useLoadedPerformance(performanceId);
  const isOfConcert = performance?.concertId === concertId;
  useEffect(() => {
    if (isOfConcert) rememberSale(concertId, performanceId);
  }, [isOfConcert]);
  // Nobody should wait in a queue, or spend a turn, for what isn't there.
  const missing = performance && !isOfConcert ? new Failure(404, "PERFORMANCE_NOT_FOUND", {}) : error;
  if (missing instanceof Failure && missing.isFinal) {
    const [to, label] = concert ? [`/concerts/${concertId}`, t().concert.toDates] : ["/", t().trouble.toConcerts];
    return <Unavailable error={missing} to={to} label={label} />;
  }
  if (place?.status !== "ACTIVE") return <QueueView concertId={concertId} title={concert?.title ?? t().queue.title} />;
  return <Floor place={place} performanceId={performanceId} title={concert?.title ?? ""} />;
}

function Floor({ place, performanceId, title }: { place: Place; performanceId: number; title: string }) {
  const { concertId, queueToken } = place;
  const [followed, setFollowed] = useState<FollowedHouse | null>(null);
  useEffect(() => {
    const begun = followHouse(performanceId, queueToken);
    setFollowed(begun);
    return begun.stop;
  }, [performanceId, queueToken]);
  const refused = followed?.refused.value;
  // The place knows why the seats are closed: its turn has ended.
  useEffect(() => {
    if (refused) void ask(concertId).catch(() => {});
  }, [refused]);
  const house = followed?.house.value;
  const performance = usePerformance(performanceId);
  const left = useCountdown(place.deadline, () => setTimeout(() => void ask(concertId).catch(() => {}), 700));
  return (
    <>
      <header class="sale-head">
        <div>
          <a class="back" href={`#/concerts/${concertId}`}><Icon name="back" />{title || t().common.back}</a>
          <Title tab={t().queue.active}>{t().seats.title}</Title>
          {performance && <p class="muted">{dayAndTime(performance.startsAt)} · {performance.venue.name}</p>}
        </div>
        {left !== null && (
          <p class={left < 60 ? "timer late" : "timer"}>
            <span>{t().queue.activeUntil}</span> <strong>{clock(left)}</strong>
          </p>
        )}
        <Reminder left={left ?? 0}>{(time) => `${t().queue.activeUntil}: ${time}`}</Reminder>
      </header>
      {refused && <div class="narrow"><Trouble error={refused} /></div>}
      {!house && !refused && <><p class="visually-hidden" role="status">{t().seats.loading}</p><Skeleton lines={10} /></>}
      {house && followed && <Seats house={house} followed={followed} place={place} performanceId={performanceId} />}
    </>
  );
}

interface Selection {
  selected: ReadonlySet<number>;
  conflicts: ReadonlySet<number>;
  toggle: (seat: number) => void;
  /** Marks seats as lost to others, and takes them out of the selection. */
  lose: (seats: readonly number[]) => void;
  /** Whether one more seat was wanted than can be held at once. */
  full: boolean;
}

function useSelection(house: House, busy: boolean): Selection {
  const [selected, setSelected] = useState<ReadonlySet<number>>(new Set());
  const [conflicts, setConflicts] = useState<ReadonlySet<number>>(new Set());
  const [full, setFull] = useState(false);
  const lose = (seats: readonly number[]): void => {
    setConflicts(new Set(seats));
    setSelected((earlier) => new Set([...earlier].filter((seat) => !seats.includes(seat))));
  };
  const version = house.version.value;
  useEffect(() => {
    // While a hold is under way it may be this visitor who takes the seats.
    if (busy) return;
    const lost = [...selected].filter((seat) => house.status[seat] !== AVAILABLE);
    if (lost.length > 0) lose(lost);
  }, [version, busy]);
  const toggle = (seat: number): void => {
    const next = new Set(selected);
    if (!next.delete(seat)) {
      if (house.status[seat] !== AVAILABLE) return;
      if (next.size >= MOST_SEATS) return setFull(true);
      next.add(seat);
    }
    setFull(false);
    setConflicts(new Set());
    setSelected(next);
  };
  return { selected, conflicts, toggle, lose, full };
}

function Seats({ house, followed, place, performanceId }: {
  house: House;
  followed: FollowedHouse;
  place: Place;
  performanceId: number;
}) {
  const text = t().seats;
  const layout = useMemo(() => layOut(house.seats), [house]);
  const [asList, setAsList] = useState(false);
  const intent = `hold:${performanceId}`;
  const holding = useAction(async (body: HoldBody) => {
    const queueToken = session.value?.queueTokens[place.concertId];
    const booking = await attempt(intent, "POST /bookings", { body, queueToken });
    noteBooking(booking);
    go(`/bookings/${booking.bookingId}`);
  });
  const { selected, conflicts, toggle, lose, full } = useSelection(house, holding.busy);
  const { error } = holding;
  useEffect(() => {
    if (!(error instanceof Failure)) return;
    if (error.code === "SEATS_UNAVAILABLE") {
      const taken = (error.problem.conflicts ?? []) as { seatId: number; reason: string }[];
      house.apply(taken.map(({ seatId, reason }) => ({ seatId, status: reason })));
      lose(taken.map(({ seatId }) => house.index.get(seatId) ?? -1).filter((seat) => seat >= 0));
    }
    if (error.code.startsWith("QUEUE_TOKEN")) void ask(place.concertId).catch(() => {});
  }, [error]);
  // A reload came between a hold and its answer: the same key gives the same answer.
  useEffect(() => {
    const body = unfinished(intent) as HoldBody | null;
    if (!body) return;
    if (place.deadline !== null && secondsUntil(place.deadline) === 0) forget(intent);
    else void holding.run(body);
  }, []);
  const seats = [...selected].sort((a, b) => a - b);
  const hold = (): void => void holding.run({ performanceId, seatIds: seats.map((seat) => house.seats[seat]!.seatId) });
  const basket = useRef<HTMLHeadingElement>(null);
  // The pressed button goes with its seat; the focus stays with the selection.
  const remove = (seat: number): void => (toggle(seat), basket.current?.focus());
  const props = { house, layout, selected, conflicts, onSeat: toggle };
  return (
    <div class="sale">
      <section class="house" aria-label={text.title}>
        <div class="house-top">
          <div class="tabs" role="group" aria-label={text.view}>
            <button type="button" aria-pressed={!asList} onClick={() => setAsList(false)}>{text.plan}</button>
            <button type="button" aria-pressed={asList} onClick={() => setAsList(true)}>{text.list}</button>
          </div>
          <Legend layout={layout} house={house} />
          <Live state={followed.state.value ?? "stream"} />
        </div>
        {asList ? <SeatList {...props} /> : <Plan {...props} />}
      </section>
      <aside class="basket card">
        <h2 tabIndex={-1} ref={basket}>{text.selection}</h2>
        <div aria-live="polite">
          {conflicts.size > 0 && !error && <Notice kind="warn">{text.taken}</Notice>}
          {full && <Notice kind="warn">{text.tooMany(MOST_SEATS)}</Notice>}
          {error ? <HoldTrouble error={error} /> : null}
          {seats.length === 0 && <p class="muted">{text.empty}</p>}
        </div>
        <ul class="picked">
          {seats.map((seat) => <Picked key={seat} house={house} seat={seat} remove={() => remove(seat)} />)}
        </ul>
        {seats.length > 0 && (
          <div class="basket-foot">
            <p class="total"><span>{t().common.total}</span><strong>{points(sum(seats.map((seat) => house.seats[seat]!.price)))}</strong></p>
            <Button kind="primary" busy={holding.busy} onClick={hold}>{holding.busy ? text.holding : text.hold(seats.length)}</Button>
          </div>
        )}
        <Best layout={layout} busy={holding.busy}
          find={(bestAvailable) => void holding.run({ performanceId, bestAvailable })} />
      </aside>
    </div>
  );
}

function HoldTrouble({ error }: { error: unknown }) {
  const nothing = error instanceof Failure && error.code === "SEATS_UNAVAILABLE" && !(error.problem.conflicts as unknown[])?.length;
  return <Notice kind="bad">{nothing ? t().seats.noneFound : explain(error)}</Notice>;
}

function Picked({ house, seat, remove }: { house: House; seat: number; remove: () => void }) {
  const it = house.seats[seat]!;
  const name = t().common.seat(it.section, it.row, it.number);
  return (
    <li>
      <span><strong>{name}</strong> <span class="muted">{it.grade}</span></span>
      <span class="nowrap">{points(it.price)}</span>
      <button type="button" class="icon-button" aria-label={t().seats.remove(name)} onClick={remove}><Icon name="close" /></button>
    </li>
  );
}

function Best({ layout, busy, find }: {
  layout: Layout;
  busy: boolean;
  find: (best: Schemas["BestAvailableRequest"]) => void;
}) {
  const text = t().seats;
  const [quantity, setQuantity] = useState("2");
  const grades = [...new Set(layout.sections.map((it) => it.grade))];
  const onSubmit = (event: Event): void => {
    event.preventDefault();
    const form = new FormData(event.target as HTMLFormElement);
    const of = (name: string): string => String(form.get(name) ?? "");
    find({
      quantity: Number(of("quantity")),
      ...(of("grade") && { grade: of("grade") }),
      ...(of("maxPrice") && { maxPrice: of("maxPrice") }),
    });
  };
  return (
    <form class="best" onSubmit={onSubmit}>
      <h2>{text.best}</h2>
      <div class="best-fields">
        <Select label={text.quantity} name="quantity" value={quantity} onChange={(event) => setQuantity(event.currentTarget.value)}
          options={[1, 2, 3, 4].map((it) => [`${it}`, `${it}`] as const)} />
        <Select label={t().common.grade} name="grade"
          options={[["", text.anyGrade], ...grades.map((it) => [it, it] as const)]} />
        <Select label={text.maxPrice} name="maxPrice"
          options={[["", text.anyPrice], ...layout.tiers.map(({ price }) => [price, points(price)] as const)]} />
      </div>
      <Button type="submit" busy={busy}>{text.takeBest}</Button>
    </form>
  );
}

export function Legend({ layout, house, blocked: blockedName = t().seats.blocked }: {
  layout: Layout;
  house: House;
  /** What a blocked seat is called. */
  blocked?: string;
}) {
  const text = t().seats;
  const [, held = 0, sold = 0, blocked = 0] = house.counts.value;
  return (
    <ul class="legend">
      {layout.tiers.map(({ price, grade }, at) => (
        <li key={price}><i class={`swatch tier-${(at % 6) + 1}`} />{grade} <span class="muted">{points(price)}</span></li>
      ))}
      {held > 0 && <li><i class="swatch held" />{text.held}</li>}
      {sold > 0 && <li><i class="swatch sold" />{text.sold}</li>}
      {blocked > 0 && <li><i class="swatch blocked" />{blockedName}</li>}
      <li class="visually-hidden">{text.freeCount(number(house.counts.value[0] ?? 0))}</li>
    </ul>
  );
}
