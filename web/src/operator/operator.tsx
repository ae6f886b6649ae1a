// The operator's views.

import { t } from "../language";
import { Notice, Skeleton } from "../parts/basics";
import { profile } from "../buyer/profile";
import { place } from "../router";
import { Audit } from "./audit";
import { BookingSearch } from "./bookings";
import { Door } from "./door";
import { Events } from "./events";
import { HouseView } from "./house";
import { SaleLive } from "./live";
import { Sales } from "./sales";
import { Actions } from "./actions";
import { TopUpSearch } from "./topups";
import { Users } from "./users";

const TABS = ["sales", "bookings", "users", "top-ups", "door", "events", "audit", "actions"] as const;

export function Operator({ parts }: { parts: string[] }) {
  const text = t().operator;
  if (!profile.value) return <Skeleton />;
  if (profile.value.role !== "ADMIN") return <Notice kind="bad">{text.forbidden}</Notice>;
  const [first = "sales", second = ""] = parts;
  const id = Number(second);
  return (
    <>
      <nav class="subnav" aria-label={text.title}>
        {TABS.map((tab) => (
          <a key={tab} href={tab === "sales" ? "#/operator" : `#/operator/${tab}`}
            aria-current={tab === (["concerts", "performances"].includes(first) ? "sales" : first) ? "page" : undefined}>
            {tab === "top-ups" ? text.topUps : text[tab]}
          </a>
        ))}
      </nav>
      {first === "sales" && <Sales />}
      {first === "concerts" && <SaleLive key={id} concertId={id} />}
      {first === "performances" && <HouseView key={id} performanceId={id} />}
      {first === "bookings" && <BookingSearch />}
      {first === "users" && <Users key={place.value.query.get("userId") ?? ""} />}
      {first === "top-ups" && <TopUpSearch />}
      {first === "door" && <Door />}
      {first === "events" && <Events />}
      {first === "audit" && <Audit />}
      {first === "actions" && <Actions />}
    </>
  );
}
