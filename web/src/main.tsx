// The page's frame, and which view an address shows.

import { effect } from "@preact/signals";
import { render } from "preact";
import { turnElsewhere } from "./buyer/queue";
import { returnFromProvider } from "./buyer/topup";
import { Frame } from "./frame";
import { t } from "./language";
import { heading } from "./parts/basics";
import { place } from "./router";

returnFromProvider();

const root = document.getElementById("page");
if (root) {
  root.textContent = "";
  render(<Frame />, root);
}

effect(() => {
  // Who waits looks at other tabs meanwhile.
  document.title = [turnElsewhere() ? t().queue.active : "", heading.value, t().name].filter(Boolean).join(" · ");
});

// A new view begins at its top; the browser restores the place itself when one goes back.
let shown = place.value.parts.join("/");
effect(() => {
  const next = place.value.parts.join("/");
  if (next !== shown) scrollTo(0, 0);
  shown = next;
});
