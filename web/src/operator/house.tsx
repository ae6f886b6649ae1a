// A performance's house: who sits where can't be seen, but what is free, held, sold and blocked; seats are blocked here.

import { useEffect, useMemo, useState } from "preact/hooks";
import { call } from "../api/client";
import { watchHouse } from "../api/house";
import { AVAILABLE, STATUSES, type House } from "../api/seats";
import { useConcert, usePerformance } from "../buyer/catalogue";
import { Live } from "../buyer/queue";
import { Legend } from "../buyer/sale";
import { dayAndTime, number, t } from "../language";
import { Button, Icon, Skeleton, Title, Trouble, Unavailable } from "../parts/basics";
import { useAction } from "../parts/load";
import { layOut } from "../plan/layout";
import { Plan } from "../plan/plan";
import { SeatList } from "../plan/seatlist";
import { Reasoned } from "./search";

type Watched = ReturnType<typeof watchHouse>;

export function HouseView({ performanceId }: { performanceId: number }) {
  const text = t().operator;
  const [watched, setWatched] = useState<Watched | null>(null);
  useEffect(() => {
    const begun = watchHouse(performanceId);
    setWatched(begun);
    return begun.stop;
  }, [performanceId]);
  const performance = usePerformance(performanceId);
  const concert = useConcert(performance?.concertId);
  const house = watched?.house.value;
  const refused = watched?.refused.value;
  if (refused) return <Unavailable error={refused} to="/operator" label={text.sales} />;
  return (
    <>
      <header class="sale-head">
        <div>
          <a class="back" href={performance ? `#/operator/concerts/${performance.concertId}` : "#/operator"}>
            <Icon name="back" />{concert?.title ?? text.sales}
          </a>
          <Title>{text.house}</Title>
          {performance && <p class="muted">{dayAndTime(performance.startsAt)} · {performance.venue.name}</p>}
        </div>
      </header>
      {!house && <Skeleton lines={10} />}
      {house && watched && <Seats house={house} watched={watched} performanceId={performanceId} />}
    </>
  );
}

function Seats({ house, watched, performanceId }: { house: House; watched: Watched; performanceId: number }) {
  const text = t().seats;
  const layout = useMemo(() => layOut(house.seats), [house]);
  const [asList, setAsList] = useState(false);
  const [wanted, setWanted] = useState<ReadonlySet<number>>(new Set());
  const [free = 0, held = 0, sold = 0, blocked = 0] = house.counts.value;
  // What somebody holds or has bought stays as it is, also if they were faster than the operator.
  const canChange = (seat: number): boolean => [AVAILABLE, BLOCKED].includes(house.status[seat]!);
  const version = house.version.value;
  const selected = useMemo(() => new Set([...wanted].filter(canChange)), [wanted, version]);
  const toggle = (seat: number): void => {
    const next = new Set(selected);
    if (!next.delete(seat)) next.add(seat);
    setWanted(next);
  };
  const props = { house, layout, selected, conflicts: new Set<number>(), onSeat: toggle };
  return (
    <div class="sale">
      <section class="house" aria-label={text.title}>
        <div class="house-top">
          <div class="tabs" role="group" aria-label={text.view}>
            <button type="button" aria-pressed={!asList} onClick={() => setAsList(false)}>{text.plan}</button>
            <button type="button" aria-pressed={asList} onClick={() => setAsList(true)}>{text.list}</button>
          </div>
          <Legend layout={layout} house={house} blocked={t().operator.blocked} />
          <Live state={watched.state.value === "lost" ? "lost" : "stream"} />
        </div>
        {asList ? <SeatList {...props} withBlocked /> : <Plan {...props} onArea={(seats) => setWanted(new Set([...selected, ...seats]))} />}
      </section>
      <aside class="basket card">
        <h2>{t().operator.occupancy}</h2>
        <dl class="sums">
          <dt>{t().operator.sold}</dt><dd>{number(sold)}</dd>
          <dt>{t().operator.held}</dt><dd>{number(held)}</dd>
          <dt>{t().operator.blocked}</dt><dd>{number(blocked)}</dd>
          <dt>{t().operator.free}</dt><dd>{number(free)}</dd>
        </dl>
        <Blocking house={house} selected={selected} performanceId={performanceId} now={watched.now}
          clear={() => setWanted(new Set())} />
      </aside>
    </div>
  );
}

const BLOCKED = STATUSES.indexOf("BLOCKED");

/** The server's limit. Each request is all or nothing. */
const SEATS_PER_REQUEST = 1_000;

/** Holds the selected seats back from sale, or gives them back. */
function Blocking({ house, selected, performanceId, now, clear }: {
  house: House;
  selected: ReadonlySet<number>;
  performanceId: number;
  now: () => Promise<void>;
  clear: () => void;
}) {
  const text = t().operator;
  const [reason, setReason] = useState("");
  const of = (status: number): number[] => [...selected].filter((seat) => house.status[seat] === status);
  const change = useAction(async (to: "block" | "unblock", seats: number[]) => {
    const seatIds = seats.map((seat) => house.seats[seat]!.seatId);
    for (let from = 0; from < seatIds.length; from += SEATS_PER_REQUEST) {
      const body = { seatIds: seatIds.slice(from, from + SEATS_PER_REQUEST), reason };
      await call(`POST /admin/performances/{performanceId}/seats/${to}`, { path: { performanceId }, body });
    }
    await now();
    clear();
  });
  const free = of(AVAILABLE);
  const blocked = of(BLOCKED);
  return (
    <div class="best">
      <p class="hint">{text.blockHelp}</p>
      <p class="visually-hidden" role="status">{selected.size > 0 ? t().common.seats(selected.size) : ""}</p>
      {selected.size > 0 && (
        <>
          <Reasoned reason={reason} setReason={setReason}>
            {free.length > 0 && (
              <Button kind="primary" busy={change.busy} disabled={!reason.trim()} onClick={() => void change.run("block", free)}>{text.block(free.length)}</Button>
            )}
            {blocked.length > 0 && (
              <Button busy={change.busy} disabled={!reason.trim()} onClick={() => void change.run("unblock", blocked)}>{text.unblock(blocked.length)}</Button>
            )}
            <Button kind="quiet" onClick={clear}>{text.clear}</Button>
          </Reasoned>
        </>
      )}
      {change.error ? <Trouble error={change.error} /> : null}
    </div>
  );
}
