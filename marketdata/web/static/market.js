// The view of the markets: their list, and one of them with book, depth, candles, trades, and its auction.

import { Book, isCrossed } from "./book.js";
import { Candles, Depth } from "./charts.js";
import {
  changeText, grouped, isCall, isZero, made, phaseSentence, phaseWord, priceText, say, shortSize, timeOf,
} from "./words.js";

const LEVELS = 12;
// Levels of a side where the screen is small.
const NEAR = 8;
const TRADES = 60;
// Between two requests for candles while trades come, and before one is tried again, in ms.
const CANDLES_MS = 2_000;
const AGAIN_MS = 5_000;
const WIDTHS = [[60, "1m"], [300, "5m"], [900, "15m"], [3_600, "1h"], [21_600, "6h"], [86_400, "1d"]];

const at = (id) => document.getElementById(id);

async function asked(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" }, cache: "no-store" });
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.message ?? `status ${answer.status}`);
  return value;
}

export class Markets {
  #stream;
  #products = new Map(); // by id: {product, ticker, row}
  #wanted = ""; // id in the address, "" for the first
  #id = "";
  #book = new Book();
  #trades = [];
  #lastTrade = 0;
  #call = new Map();
  #width = 60;
  #candles = null;
  #depth = null;
  #candlesDue = 0;
  #candlesAt = 0;
  #candlesOf = "";
  #drawn = 0;
  #rows = [];
  #lostAt = "";
  #isLost = false;
  #seen = new Set(); // markets whose row is on the screen
  #watched = new IntersectionObserver((entries) => this.#onSeen(entries), { rootMargin: "200px 0px" });
  onClock = () => {};

  constructor() {
    const body = at("ladder").tBodies[0];
    for (let n = 0; n < 2 * LEVELS + 1; n += 1) {
      const isMiddle = n === LEVELS;
      const cells = isMiddle
        ? [made("td", { colspan: 3, id: "spread" })]
        : [made("td", { class: "number bid" }), made("td", { class: "price" }), made("td", { class: "number offer" })];
      const row = made("tr", { class: isMiddle ? "spread" : `${n < LEVELS ? "offers" : "bids"}${Math.abs(n - LEVELS) > NEAR ? " far" : ""}` }, ...cells);
      this.#rows.push({ row, cells });
      body.append(row);
    }
    for (const [seconds, word] of WIDTHS) {
      const input = made("input", { type: "radio", name: "width", value: seconds, checked: seconds === this.#width });
      input.addEventListener("change", () => {
        this.#width = seconds;
        this.#loadCandles();
      });
      at("widths").append(made("label", {}, input, made("span", {}, word)));
    }
  }

  attach(stream) {
    this.#stream = stream;
  }

  // The market in the address; "" for the first there is.
  choose(id) {
    this.#wanted = id;
    this.#select();
  }

  paint() {
    this.#candles?.paint();
  }

  // What the stream says of itself.
  onState(state) {
    this.#lostAt = state.since ? timeOf(new Date(state.since).toISOString()) : "";
    if (state.name === "lost") {
      this.#book.isWhole = false;
      this.#isLost = true;
    } else if (state.name === "live" && this.#isLost) {
      this.#isLost = false;
      for (const each of this.#products.values()) {
        each.ticker = null; // this connection has not told it yet
        this.#showRow(each);
      }
      if (this.#id) this.#loadTrades().then(() => this.#loadCandles());
    }
    this.#mark();
  }

  onMessage(message) {
    const known = this.#products.get(message.product_id);
    if (message.time) this.onClock(message.time);
    switch (message.type) {
      case "status":
        this.#list(message.products);
        break;
      case "ticker":
        if (known) {
          known.ticker = message;
          this.#showRow(known);
          if (message.product_id === this.#id) this.#showSummary();
        }
        break;
      case "auction":
        this.#call.set(message.product_id, message);
        if (message.product_id === this.#id) this.#showCall();
        break;
      case "snapshot":
        if (message.product_id === this.#id) {
          this.#book.snapshot(message);
          this.#draw();
        }
        break;
      case "l2update":
        if (message.product_id === this.#id && this.#book.update(message)) this.#draw();
        break;
      case "match":
        if (message.product_id === this.#id) this.#take(message);
        break;
      case "heartbeat":
        // A trade that this page did not hear of: ask for all of them.
        if (message.product_id === this.#id && this.#lastTrade && message.last_trade_id > this.#lastTrade) {
          this.#loadTrades();
        }
        break;
      default:
    }
  }

  // The list.

  #list(products) {
    let differs = false;
    for (const product of products) {
      const known = this.#products.get(product.id);
      if (known) {
        const changes = known.product.status_message !== product.status_message || known.product.halt_reason !== product.halt_reason;
        known.product = product;
        if (changes) {
          this.#showRow(known);
          if (product.id === this.#id) this.#showPhase();
        }
      } else {
        this.#products.set(product.id, { product, ticker: null, row: this.#row(product) });
        differs = true;
      }
    }
    say(at("list-empty"), "No instrument is defined yet. The operator adds one with `lockstep admin instrument`.");
    at("list-empty").hidden = this.#products.size > 0;
    at("list").hidden = !this.#products.size;
    if (differs) {
      const body = at("list").tBodies[0];
      body.replaceChildren(...[...this.#products.values()].map((each) => each.row.element));
      for (const each of this.#products.values()) {
        this.#showRow(each);
        this.#watched.observe(each.row.element);
      }
      this.#select();
    }
  }

  #row(product) {
    const link = made("a", { href: `#/${product.id}` }, product.base_currency);
    const phase = made("span", { class: "badge small" });
    const cell = (name) => made("td", { class: `number ${name}` });
    const cells = { last: cell("last"), change: cell("change"), bid: cell("wide"), offer: cell("wide"), volume: cell("wide") };
    const element = made("tr", { "data-id": product.id }, made("th", { scope: "row" }, link, phase), ...Object.values(cells));
    element.addEventListener("click", () => link.click());
    link.addEventListener("click", (event) => event.stopPropagation());
    return { element, link, phase, cells };
  }

  // Prices are asked for where they are seen; what leaves the screen is forgotten, for it would be old when it is back.
  #onSeen(entries) {
    for (const { target, isIntersecting } of entries) {
      const id = target.dataset.id;
      if (isIntersecting) this.#seen.add(id);
      else if (this.#seen.delete(id) && id !== this.#id) {
        const known = this.#products.get(id);
        known.ticker = null;
        this.#showRow(known);
      }
    }
    this.#show();
  }

  #show() {
    this.#stream?.show(this.#id ? [this.#id, ...this.#seen] : this.#seen);
  }

  #decimals(product) {
    return Math.max(2, (product.quote_increment.split(".")[1] ?? "").length);
  }

  #price(text, product) {
    return isZero(text) ? "–" : priceText(text, this.#decimals(product));
  }

  #showRow({ product, ticker, row }) {
    const phase = product.status_message;
    row.phase.dataset.phase = phase;
    say(row.phase, phase === "continuous" ? "" : phaseWord(phase));
    row.phase.hidden = phase === "continuous";
    if (!ticker) {
      for (const cell of Object.values(row.cells)) say(cell, "");
      return;
    }
    say(row.cells.last, this.#price(ticker.price, product));
    const change = changeText(ticker.price, ticker.open_24h);
    say(row.cells.change, change.text);
    row.cells.change.dataset.sign = change.sign;
    say(row.cells.bid, this.#price(ticker.best_bid, product));
    say(row.cells.offer, this.#price(ticker.best_ask, product));
    say(row.cells.volume, shortSize(ticker.volume_24h));
  }

  // One market.

  #select() {
    const id = this.#products.has(this.#wanted) ? this.#wanted : (this.#wanted ? "" : [...this.#products.keys()][0] ?? "");
    if (this.#wanted && !id && this.#products.size) {
      at("list-empty").hidden = false;
      say(at("list-empty"), `There is no market ${this.#wanted.slice(0, 20)}; choose one of these.`);
    }
    for (const [each, { row }] of this.#products) {
      if (each === id) row.link.setAttribute("aria-current", "true");
      else row.link.removeAttribute("aria-current");
    }
    if (id === this.#id) return;
    this.#id = id;
    this.#book.clear();
    this.#trades = [];
    this.#lastTrade = 0;
    at("detail").hidden = !id;
    this.#stream?.focus(id);
    this.#show();
    if (!id) return;
    this.#candles ??= new Candles(at("candles"));
    this.#depth ??= new Depth(at("depth"));
    const { product } = this.#products.get(id);
    say(at("symbol"), product.base_currency);
    this.#showSummary();
    this.#showPhase();
    this.#mark();
    this.#drawTrades();
    this.#draw();
    this.#loadTrades();
    this.#loadCandles();
  }

  get #product() {
    return this.#products.get(this.#id)?.product;
  }

  #showSummary() {
    const { product, ticker } = this.#products.get(this.#id);
    const price = (text) => this.#price(text, product);
    say(at("last"), ticker ? price(ticker.price) : "–");
    const change = ticker ? changeText(ticker.price, ticker.open_24h) : { text: "", sign: 0 };
    say(at("change"), change.text && `${change.text} in 24 h`);
    at("change").dataset.sign = change.sign;
    document.title = ticker && !isZero(ticker.price) ? `${product.base_currency} ${price(ticker.price)} · lockstep` : "lockstep";
    if (!ticker) return;
    const facts = [
      ["High 24 h", price(ticker.high_24h)],
      ["Low 24 h", price(ticker.low_24h)],
      ["Volume 24 h", grouped(ticker.volume_24h)],
      ["Volume 30 d", grouped(ticker.volume_30d)],
      ["Tick", priceText(product.quote_increment, 2)],
      ["Lot", grouped(product.base_increment)],
    ];
    const list = at("facts");
    if (list.children.length !== facts.length) {
      list.replaceChildren(...facts.map(() => made("div", {}, made("dt"), made("dd"))));
    }
    facts.forEach(([name, value], n) => {
      say(list.children[n].children[0], name);
      say(list.children[n].children[1], value);
    });
  }

  #showPhase() {
    const product = this.#product;
    const phase = product.status_message;
    say(at("phase"), phaseWord(phase));
    at("phase").dataset.phase = phase;
    const sentence = phaseSentence(product.base_currency, phase, product.halt_reason);
    at("banner").hidden = !sentence;
    at("banner").dataset.phase = phase;
    say(at("banner"), sentence);
    this.#showCall();
  }

  #showCall() {
    const product = this.#product;
    const call = isCall(product.status_message) ? this.#call.get(this.#id) : null;
    if (!isCall(product.status_message)) this.#call.delete(this.#id);
    at("call").hidden = !isCall(product.status_message);
    say(at("call-title"), phaseWord(product.status_message));
    const trades = call && !isZero(call.open_size);
    say(at("call-price"), trades ? this.#price(call.open_price, product) : "none yet");
    say(at("call-paired"), trades ? grouped(call.open_size) : "nothing yet");
    const balanced = !call || call.imbalance_side === "none" || isZero(call.imbalance_size);
    say(at("call-imbalance"), balanced ? "none" : `${grouped(call.imbalance_size)} to ${call.imbalance_side}`);
    const paired = Number(call?.open_size ?? 0);
    const extra = balanced ? 0 : Number(call.imbalance_size);
    const [buy, sell] = [paired + (call?.imbalance_side === "buy" ? extra : 0), paired + (call?.imbalance_side === "sell" ? extra : 0)];
    const most = Math.max(buy, sell, 1);
    at("call-balance").style.setProperty("--buy-part", buy / most);
    at("call-balance").style.setProperty("--sell-part", sell / most);
    this.#draw();
  }

  // Whether what is shown is live: what is not is marked, and never looks like what is.
  #mark() {
    const whole = this.#book.isWhole && this.#stream?.isLive;
    for (const name of ["ladder-panel", "depth-panel"]) at(name).dataset.live = whole ? "yes" : "no";
    at("trades-panel").dataset.live = this.#stream?.isLive ? "yes" : "no";
    at("ladder-panel").setAttribute("aria-busy", whole ? "false" : "true");
    say(
      at("ladder-mark"),
      whole ? "" : this.#lostAt ? `Not live since ${this.#lostAt} UTC: do not trade on it` : "Not live: the book is being built",
    );
  }

  #draw() {
    if (this.#drawn) return;
    this.#drawn = requestAnimationFrame(() => {
      this.#drawn = 0;
      this.#drawBook();
    });
  }

  #drawBook() {
    const product = this.#product;
    if (!product) return;
    this.#mark();
    if (!this.#book.isWhole) return; // the last one stays, marked
    const [bids, offers] = [this.#book.levels("buy"), this.#book.levels("sell")];
    if (product.status_message === "continuous" && isCrossed(bids, offers)) {
      this.#suspect();
      return;
    }
    this.#crossedAt = 0;
    const decimals = this.#decimals(product);
    const most = Math.max(1, ...bids.slice(0, LEVELS).map((each) => each.size), ...offers.slice(0, LEVELS).map((each) => each.size));
    for (let n = 0; n < LEVELS; n += 1) {
      this.#drawLevel(this.#rows[LEVELS - 1 - n], offers[n], "offer", most, decimals);
      this.#drawLevel(this.#rows[LEVELS + 1 + n], bids[n], "bid", most, decimals);
    }
    say(at("spread"), this.#spread(bids, offers, decimals));
    const { sentence, most: deepest } = this.#depth.show(bids, offers, Number(product.quote_increment), decimals);
    say(at("depth-said"), sentence);
    say(at("depth-scale"), deepest ? `up to ${shortSize(deepest)}` : "");
  }

  // A phase and a book come by different messages, a moment apart; a book that stays crossed is wrong.
  #crossedAt = 0;
  #suspect() {
    this.#crossedAt ||= performance.now();
    if (performance.now() - this.#crossedAt > 3_000) {
      this.#crossedAt = 0;
      this.#stream.restart("the book shown was crossed");
    } else {
      setTimeout(() => this.#draw(), 500);
    }
  }

  #spread(bids, offers, decimals) {
    if (!bids.length && !offers.length) return "No orders rest here";
    if (!bids.length) return "No bids";
    if (!offers.length) return "No offers";
    const spread = offers[0].value - bids[0].value;
    if (spread < 0) return "Crossed: trades in the auction";
    const percent = (spread / ((offers[0].value + bids[0].value) / 2)) * 100;
    return `Spread ${priceText(spread.toFixed(decimals), decimals)} (${percent.toFixed(2)}%)`;
  }

  #drawLevel({ row, cells }, level, side, most, decimals) {
    const [bid, price, offer] = cells;
    const size = level ? grouped(level.size) : "";
    say(price, level ? priceText(level.price, decimals) : "");
    say(side === "bid" ? bid : offer, size);
    row.classList.toggle("none", !level);
    row.style.setProperty("--fill", level ? (level.size / most).toFixed(3) : 0);
  }

  // Trades.

  #take(match) {
    if (match.trade_id <= this.#lastTrade) return;
    this.#lastTrade = match.trade_id;
    this.#trades.unshift(match);
    this.#trades.length = Math.min(this.#trades.length, TRADES);
    this.#drawTrades();
    this.#candlesSoon();
  }

  async #loadTrades() {
    const id = this.#id;
    try {
      const trades = await asked(`/products/${encodeURIComponent(id)}/trades?limit=${TRADES}`);
      if (id !== this.#id) return;
      const newer = this.#trades.filter((each) => !trades.length || each.trade_id > trades[0].trade_id);
      this.#trades = [...newer, ...trades].slice(0, TRADES);
      this.#lastTrade = Math.max(this.#lastTrade, this.#trades[0]?.trade_id ?? 0);
      this.#drawTrades();
    } catch {
      // The stream says that the exchange is lost, and this is asked again once it is there.
    }
  }

  #tradesDrawn = 0;
  #drawTrades() {
    if (this.#tradesDrawn) return;
    this.#tradesDrawn = requestAnimationFrame(() => {
      this.#tradesDrawn = 0;
      const product = this.#product;
      if (!product) return;
      at("trades-empty").hidden = this.#trades.length > 0;
      at("trades").hidden = !this.#trades.length;
      at("trades").tBodies[0].replaceChildren(
        ...this.#trades.map((each) => {
          // The exchange names the side of the maker; people ask who took.
          const taker = each.side === "buy" ? "sell" : "buy";
          return made(
            "tr",
            { "data-taker": taker },
            made("td", {}, timeOf(each.time)),
            made("td", { class: "number" }, this.#price(each.price, product)),
            made("td", { class: "number" }, grouped(each.size)),
            made("td", {}, made("span", { "aria-hidden": "true" }, taker === "buy" ? "▲" : "▼"), made("span", { class: "hidden" }, taker === "buy" ? "bought" : "sold")),
          );
        }),
      );
    });
  }

  // Candles.

  #candlesSoon() {
    if (this.#candlesDue) return;
    const wait = Math.max(100, this.#candlesAt + CANDLES_MS - performance.now());
    this.#candlesDue = setTimeout(() => this.#loadCandles(), wait);
  }

  async #loadCandles() {
    clearTimeout(this.#candlesDue);
    this.#candlesDue = 0;
    this.#candlesAt = performance.now();
    const [id, width] = [this.#id, this.#width];
    if (!id) return;
    try {
      const rows = await asked(`/products/${encodeURIComponent(id)}/candles?granularity=${width}`);
      if (id !== this.#id || width !== this.#width) return;
      const decimals = this.#decimals(this.#product);
      const of = `${id} ${width}`;
      this.#candles.show(rows, decimals, of !== this.#candlesOf || rows.length < 30);
      this.#candlesOf = of;
      at("candles-empty").hidden = rows.length > 0;
      say(at("candles-said"), this.#candles.said(decimals));
    } catch {
      if (!this.#candlesDue) this.#candlesDue = setTimeout(() => this.#loadCandles(), AGAIN_MS);
    }
  }
}
