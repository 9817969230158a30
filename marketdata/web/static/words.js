// Numbers, times and phases as people read them. Prices and sizes come as decimal text and stay exact.

export const PHASES = {
  closed: "Closed",
  pre_open: "Pre-open",
  opening_auction: "Opening auction",
  continuous: "Continuous",
  halted: "Halted",
  auction: "Reopening auction",
  closing_auction: "Closing auction",
};
const CALLS = new Set(["opening_auction", "auction", "closing_auction"]);
const HALTS = {
  command: "by the operator",
  volatility: "by its volatility breaker",
  market_wide: "by the market-wide breaker",
};

export const isCall = (phase) => CALLS.has(phase);
export const phaseWord = (phase) => PHASES[phase] ?? String(phase).replaceAll("_", " ");

// The sentence of a banner; "" where trading is ordinary.
export function phaseSentence(symbol, phase, reason) {
  switch (phase) {
    case "halted":
      return `${symbol} is halted${HALTS[reason] ? ` ${HALTS[reason]}` : ""}. Only cancels are taken.`;
    case "closed":
      return `${symbol} is closed. Only cancels are taken.`;
    case "pre_open":
      return `${symbol} is in pre-open. Orders are taken and rest; nothing trades yet.`;
    default:
      return isCall(phase)
        ? `${symbol} is in an auction. Orders rest, and all that can trade will trade at one price.`
        : "";
  }
}

// Decimal text with thousands separated: 12345.60 is 12,345.60.
export function grouped(text) {
  const [whole, part] = String(text).split(".");
  const digits = whole.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  return part === undefined ? digits : `${digits}.${part}`;
}

// A price with as many decimals as the tick has.
export function priceText(text, decimals) {
  const [whole, part = ""] = String(text).split(".");
  return grouped(`${whole}.${part.padEnd(decimals, "0")}`);
}

export const isZero = (text) => !text || Number(text) === 0;

// A size where there is little room: 1,234,567 is 1.23M.
export function shortSize(size) {
  const n = Number(size);
  for (const [unit, of] of [["B", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (n >= 10 * of) return `${(n / of).toFixed(n >= 100 * of ? 0 : 1)}${unit}`;
  }
  return grouped(String(size));
}

// Time of the day of a moment in ISO 8601, UTC, to the second.
export const timeOf = (iso) => String(iso).slice(11, 19);
export const dayAndTime = (iso) => `${String(iso).slice(0, 10)} ${timeOf(iso)}`;

// Change in percent with its sign and an arrow, so that colour is not needed.
export function changeText(now, before) {
  const [a, b] = [Number(now), Number(before)];
  if (!a || !b) return { text: "", sign: 0 };
  const percent = ((a - b) / b) * 100;
  const shown = Math.abs(percent).toFixed(2);
  const sign = shown === "0.00" ? 0 : Math.sign(percent);
  return { text: `${sign > 0 ? "▲ +" : sign < 0 ? "▼ −" : "• "}${shown}%`, sign };
}

export function durationText(ns) {
  if (!ns) return "–";
  for (const [unit, of] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]]) {
    if (Math.abs(ns) >= of) return `${(ns / of).toFixed(1)} ${unit}`;
  }
  return `${ns} ns`;
}

// An element with attributes and children; text is text, never markup.
export function made(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((each) => each !== null && each !== undefined && each !== ""));
  return element;
}

// Set text only where it differs: screen readers and layout are left alone otherwise.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
