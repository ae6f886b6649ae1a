// The operator's views.

import type { VNode } from "preact";
import { useEffect } from "preact/hooks";
import { t } from "../language";
import { Button, Title, Trouble, Unknown } from "../parts/basics";
import { useAction } from "../parts/load";
import { ProfileState } from "../buyer/account";
import { loadProfile, logOut, profile } from "../buyer/profile";
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

/** The view of an address; null if it names none. */
function view(first: string, second: string): VNode | null {
  const id = Number(second);
  switch (first) {
    case "sales": return <Sales />;
    case "concerts": return <SaleLive key={id} concertId={id} />;
    case "performances": return <HouseView key={id} performanceId={id} />;
    case "bookings": return <BookingSearch />;
    case "users": return <Users />;
    case "top-ups": return <TopUpSearch />;
    case "door": return <Door />;
    case "events": return <Events />;
    case "audit": return <Audit />;
    case "actions": return <Actions />;
  }
  return null;
}

export function Operator({ parts }: { parts: string[] }) {
  const text = t().operator;
  const [first = "sales", second = ""] = parts;
  // The role may have been taken away meanwhile.
  useEffect(() => void loadProfile().catch(() => {}), [first]);
  if (!profile.value) return <ProfileState />;
  if (profile.value.role !== "ADMIN") return <Forbidden email={profile.value.email} />;
  const current = ["concerts", "performances"].includes(first) ? "sales" : first;
  return (
    <>
      <nav class="subnav" aria-label={text.title}>
        {TABS.map((tab) => (
          <a key={tab} href={tab === "sales" ? "#/operator" : `#/operator/${tab}`} aria-current={tab === current ? "page" : undefined}>
            {tab === "top-ups" ? text.topUps : text[tab]}
          </a>
        ))}
      </nav>
      {view(first, second) ?? <Unknown to="/operator" label={text.sales} />}
    </>
  );
}

/** For who is logged in as somebody else than an administrator. */
function Forbidden({ email }: { email: string }) {
  const text = t().operator;
  const leaving = useAction(logOut);
  return (
    <div class="narrow">
      <Title>{text.forbidden}</Title>
      <p>{text.forbiddenText(email)}</p>
      {leaving.error ? <Trouble error={leaving.error} /> : null}
      <div class="buttons">
        <Button kind="primary" busy={leaving.busy} onClick={() => void leaving.run()}>{text.otherLogin}</Button>
        <a class="button plain" href="#/">{t().trouble.toConcerts}</a>
      </div>
    </div>
  );
}
