// The page: which view is shown, whether the exchange is heard, and the colours.

import { Markets } from "./market.js";
import { OperatorView } from "./operator.js";
import { Stream } from "./stream.js";
import { dayAndTime, say } from "./words.js";

const at = (id) => document.getElementById(id);

// Colours: those of the system, or the one that was chosen here.
const theme = at("theme");
const STORED = "lockstep-theme";
function paint(choice) {
  if (choice === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = choice;
  theme.value = choice;
}
function stored() {
  try {
    const found = localStorage.getItem(STORED);
    return ["light", "dark"].includes(found) ? found : "auto";
  } catch {
    return "auto"; // a browser that keeps nothing
  }
}
paint(stored());

const markets = new Markets();
const operator = new OperatorView(at("operator"));

let clock = "";
markets.onClock = (moment) => {
  if (moment <= clock) return;
  clock = moment;
  say(at("clock"), dayAndTime(moment));
};

let since = 0;
const stream = new Stream(
  (message) => markets.onMessage(message),
  (state) => {
    at("connection").dataset.state = state.name;
    say(at("connection-text"), state.text);
    document.documentElement.dataset.live = state.name === "live" ? "yes" : "no";
    since = state.since;
    age();
    markets.onState(state);
  },
);
markets.attach(stream);

// How long it is not live; said beside the state, which a screen reader tells once.
function age() {
  say(at("connection-age"), since ? `for ${Math.max(Math.round((Date.now() - since) / 1_000), 0)} s` : "");
}
setInterval(age, 500);

theme.addEventListener("change", () => {
  try {
    localStorage.setItem(STORED, theme.value);
  } catch {
    // It holds until the page is closed.
  }
  paint(theme.value);
  markets.paint();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => markets.paint());

function placeOf(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // no market has such a name
  }
}
function show() {
  const place = placeOf(location.hash.replace(/^#\/?/, ""));
  const isOperator = place === "operator";
  at("markets").hidden = isOperator;
  at("operator").hidden = !isOperator;
  at("to-markets").toggleAttribute("aria-current", !isOperator);
  at("to-operator").toggleAttribute("aria-current", isOperator);
  if (isOperator) {
    document.title = "Operator · lockstep";
    operator.show();
  } else {
    operator.hide();
    markets.choose(place);
  }
}
addEventListener("hashchange", show);
show();
