// The frame around every view: navigation, what is held or waited for, how the server is reached.

import type { ComponentChildren, VNode } from "preact";
import { useEffect, useErrorBoundary } from "preact/hooks";
import { connection } from "./api/client";
import { ending, isLoggedIn, restored } from "./api/session";
import { Account } from "./buyer/account";
import { BookingView } from "./buyer/booking";
import { Bookings } from "./buyer/bookings";
import { ConcertView } from "./buyer/concert";
import { Concerts } from "./buyer/concerts";
import { Points } from "./buyer/points";
import { Sale } from "./buyer/sale";
import { Reset, SignIn, SignUp } from "./buyer/signin";
import { HeldBanner } from "./buyer/held";
import { QueueChips } from "./buyer/queue";
import { profile } from "./buyer/profile";
import { choose, language, t } from "./language";
import { Operator } from "./operator/operator";
import { Icon, Notice, Skeleton, Unavailable, Unknown } from "./parts/basics";
import { path, place } from "./router";

const NUMBER = /^\d{1,15}$/;

/** The view of an address. */
function view(): { name: string; node: VNode; needsLogin?: boolean } {
  const { parts } = place.value;
  const [first = "", second = "", third = "", fourth = ""] = parts;
  const id = NUMBER.test(second) ? Number(second) : null;
  switch (first) {
    case "":
      return { name: "concerts", node: <Concerts /> };
    case "concerts":
      if (id === null) break;
      if (third === "performances" && NUMBER.test(fourth)) {
        const performanceId = Number(fourth);
        return { name: "concerts", node: <Sale key={fourth} concertId={id} performanceId={performanceId} />, needsLogin: true };
      }
      return { name: "concerts", node: <ConcertView key={id} concertId={id} /> };
    case "bookings":
      if (second) return { name: "bookings", node: <BookingView key={second} bookingId={second} />, needsLogin: true };
      return { name: "bookings", node: <Bookings />, needsLogin: true };
    case "points":
      return { name: "points", node: <Points />, needsLogin: true };
    case "account":
      return { name: "account", node: <Account />, needsLogin: true };
    case "login":
      return { name: "login", node: <SignIn /> };
    case "signup":
      return { name: "login", node: <SignUp /> };
    case "reset":
      return { name: "login", node: <Reset key={place.value.query.get("code")} /> };
    case "operator":
      return { name: "operator", node: <Operator parts={parts.slice(1)} />, needsLogin: true };
  }
  return { name: "", node: <Unknown to="/" label={t().trouble.toConcerts} /> };
}

function Link({ to, name, current, icon, children }: {
  to: string;
  name: string;
  current: string;
  icon: Parameters<typeof Icon>[0]["name"];
  children: string;
}) {
  return (
    <a href={`#${to}`} aria-current={name === current ? "page" : undefined}>
      <Icon name={icon} />
      <span>{children}</span>
    </a>
  );
}

export function Frame() {
  const text = t();
  const { name, node, needsLogin } = view();
  const isAdmin = profile.value?.role === "ADMIN";
  return (
    <>
      <a class="skip" href="#content" onClick={(event) => (event.preventDefault(), document.getElementById("content")?.focus())}>
        {text.nav.skip}
      </a>
      <header class="top">
        <a class="brand" href="#/">
          <svg viewBox="0 0 32 32" aria-hidden="true"><path d="M4 9a2 2 0 0 1 2-2h20a2 2 0 0 1 2 2v4a3 3 0 0 0 0 6v4a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2v-4a3 3 0 0 0 0-6z" /><path class="perforation" d="M20 11v10" /></svg>
          <span>{text.name}</span>
        </a>
        <nav aria-label={text.nav.main}>
          <Link to="/" name="concerts" current={name} icon="concerts">{text.nav.concerts}</Link>
          {isLoggedIn.value && (
            <>
              <Link to="/bookings" name="bookings" current={name} icon="bookings">{text.nav.bookings}</Link>
              <Link to="/points" name="points" current={name} icon="points">{text.nav.points}</Link>
              {isAdmin && <Link to="/operator" name="operator" current={name} icon="operator">{text.nav.operator}</Link>}
              <Link to="/account" name="account" current={name} icon="account">{text.nav.account}</Link>
            </>
          )}
          {!isLoggedIn.value && <Link to="/login" name="login" current={name} icon="account">{text.nav.logIn}</Link>}
        </nav>
        <button
          type="button"
          class="language"
          lang={language.value === "ko" ? "en" : "ko"}
          aria-label={text.nav.languageLabel}
          onClick={() => choose(language.value === "ko" ? "en" : "ko")}
        >
          {text.nav.language}
        </button>
      </header>
      <div class="connection" role="status">
        {connection.value === "lost" ? text.trouble.lost : connection.value === "busy" ? text.trouble.busy : ""}
      </div>
      <HeldBanner />
      <QueueChips />
      <main id="content" tabIndex={-1}>
        <Fallible>{needsLogin && !isLoggedIn.value ? <Gate /> : node}</Fallible>
      </main>
      <footer>
        <a href="/swagger-ui/">{text.nav.api}</a>
      </footer>
    </>
  );
}

/** In front of a view that needs a login: leads to it, and back. */
function Gate() {
  if (!restored.value) return <Skeleton />;
  return (
    <>
      {ending.value === "ended" && <div class="narrow"><Notice kind="warn">{t().trouble.loggedOut}</Notice></div>}
      <SignIn returnTo={path()} />
    </>
  );
}

/** Keeps the ways out of a view that fails. */
function Fallible({ children }: { children: ComponentChildren }) {
  const [error, reset] = useErrorBoundary((reason) => console.error(reason));
  const at = place.value;
  useEffect(reset, [at]);
  if (error) return <Unavailable error={error} retry={() => location.reload()} to="/" label={t().trouble.toConcerts} />;
  return <>{children}</>;
}
