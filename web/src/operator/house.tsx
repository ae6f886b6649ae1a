// A performance's house: who sits where can't be seen, but what is free, held, sold and blocked; seats are blocked here.

import { useEffect, useMemo, useState } from "preact/hooks";
import { watchHouse } from "../api/house";
import type { House } from "../api/seats";
import { useConcert, usePerformance } from "../buyer/catalogue";
import { Live } from "../buyer/queue";
import { Legend } from "../buyer/sale";
import { dayAndTime, number, t } from "../language";
import { Button, Icon, Skeleton, Title, Trouble } from "../parts/basics";
import { layOut } from "../plan/layout";
import { Plan } from "../plan/plan";
import { SeatList } from "../plan/seatlist";

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
      {watched?.refused.value && <Trouble error={watched.refused.value} />}
      {!house && !watched?.refused.value && <Skeleton lines={10} />}
      {house && watched && <Seats house={house} watched={watched} performanceId={performanceId} />}
    </>
  );
}

function Seats({ house, watched }: { house: House; watched: Watched; performanceId: number }) {
  const text = t().seats;
  const layout = useMemo(() => layOut(house.seats), [house]);
  const [asList, setAsList] = useState(false);
  const [selected, setSelected] = useState<ReadonlySet<number>>(new Set());
  const [free = 0, held = 0, sold = 0, blocked = 0] = house.counts.value;
  const toggle = (seat: number): void => {
    const next = new Set(selected);
    if (!next.delete(seat)) next.add(seat);
    setSelected(next);
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
          <Legend layout={layout} house={house} />
          <Live state={watched.state.value ?? "poll"} />
        </div>
        {asList ? <SeatList {...props} all /> : <Plan {...props} onArea={(seats) => setSelected(new Set([...selected, ...seats]))} />}
      </section>
      <aside class="basket card">
        <h2>{t().operator.occupancy}</h2>
        <dl class="sums">
          <dt>{t().operator.sold}</dt><dd>{number(sold)}</dd>
          <dt>{t().operator.held}</dt><dd>{number(held)}</dd>
          <dt>{t().operator.blocked}</dt><dd>{number(blocked)}</dd>
          <dt>{t().operator.free}</dt><dd>{number(free)}</dd>
        </dl>
        {selected.size > 0 && <Button onClick={() => setSelected(new Set())}>{t().operator.clear}</Button>}
      </aside>
    </div>
  );
}
