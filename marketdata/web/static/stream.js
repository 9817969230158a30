// The WebSocket of the exchange: it says whether what is shown is live, and connects again by itself.
//
// It is live while messages come and say that the market goes on: channel market does twice a second. The exchange's
// server may live without its core; then what is shown is stale, and the connection is kept. After a silence it is
// stale too, and soon the connection is given up, even if it seems open, and everything is built anew over the next
// one. Nothing of a connection outlives it.

const STALE_MS = 1_500;
const SILENCE_MS = 3_000;
const PAUSE_MS = 500;
const PAUSE_MAX_MS = 15_000;
// Pairs of channel and market that a subscriber may have, less those of what is looked at; requests are put together.
const SHOWN_MAX = 1_000;
const TOGETHER_MS = 150;
const FOCUSED = ["level2", "matches", "heartbeat", "auctionfeed"];

export class Stream {
  #socket = null;
  #onMessage;
  #onState;
  #heard = 0;
  #pause = PAUSE_MS;
  #timer = 0;
  #shown = new Set(); // markets whose prices are wanted, and those that they are asked for
  #asked = new Set();
  #asking = 0;
  #old = null; // since when the market stands still, by performance.now(), where the exchange says so
  #focus = "";
  #last = new Map();
  #state = { name: "connecting", text: "Connecting", since: 0 };

  // onState: {name, text, since}; name is connecting, live, stale, or lost. Stale: what is shown is whole, and may be
  // old. since: when it was live last, in ms since 1970 by the browser's clock; 0 while it is live, and before it was.
  constructor(onMessage, onState) {
    this.#onMessage = onMessage;
    this.#onState = onState;
    setInterval(() => this.#watch(), 250);
    // Do not wait for a timer that a sleeping machine has stopped.
    addEventListener("online", () => this.#connect());
    this.#connect();
  }

  get isLive() {
    return this.#state.name === "live";
  }

  // The market whose book and trades are wanted; "" for none.
  focus(product) {
    if (product === this.#focus) return;
    const before = this.#focus;
    this.#focus = product;
    if (before) this.#send("unsubscribe", [before], FOCUSED);
    if (product) this.#send("subscribe", [product], FOCUSED);
  }

  // The markets whose prices are on the screen: a list may have more than a subscriber is sent.
  show(products) {
    this.#shown = new Set([...products].slice(0, SHOWN_MAX));
    this.#asking ||= setTimeout(() => this.#ask(), TOGETHER_MS);
  }

  #ask() {
    clearTimeout(this.#asking);
    this.#asking = 0;
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    const gone = [...this.#asked].filter((each) => !this.#shown.has(each));
    const fresh = [...this.#shown].filter((each) => !this.#asked.has(each));
    this.#send("unsubscribe", gone, ["ticker"]);
    this.#send("subscribe", fresh, ["ticker"]);
    this.#asked = new Set(this.#shown);
  }

  // Give the connection up and build everything anew.
  restart(why) {
    this.#lose(why);
  }

  #send(type, products, channels) {
    if (this.#socket?.readyState === WebSocket.OPEN && products.length) {
      this.#socket.send(JSON.stringify({ type, product_ids: products, channels }));
    }
  }

  #connect() {
    clearTimeout(this.#timer);
    if (this.#socket) return;
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = (this.#socket = new WebSocket(`${scheme}//${location.host}/`));
    this.#heard = performance.now();
    this.#asked.clear();
    this.#last.clear();
    this.#old = null;
    socket.onopen = () => {
      if (socket !== this.#socket) return;
      socket.send(JSON.stringify({ type: "subscribe", channels: ["status", "market"] }));
      if (this.#focus) this.#send("subscribe", [this.#focus], FOCUSED);
      this.#ask();
    };
    socket.onmessage = (event) => {
      if (socket === this.#socket) this.#take(JSON.parse(event.data));
    };
    socket.onclose = (event) => {
      if (socket === this.#socket) this.#lose(event.reason || "the connection was lost");
    };
  }

  #take(message) {
    this.#heard = performance.now();
    // A number that goes back: the exchange has another past than the one shown here.
    const id = message.product_id;
    if (id && message.sequence !== undefined) {
      if (message.sequence < (this.#last.get(id) ?? 0)) {
        this.#lose("the numbers of messages went back");
        return;
      }
      this.#last.set(id, message.sequence);
    }
    this.#onMessage(message);
    if (message.type === "market") {
      this.#pause = PAUSE_MS;
      this.#old = message.state === "live" ? null : performance.now() - 1_000 * message.age;
      this.#judge();
    }
  }

  // Whether what is shown is live or stale, while there is a connection over which the exchange has spoken.
  #judge() {
    const now = performance.now();
    if (this.#old !== null) this.#tell("stale", "Stale: the market stands still", this.#old);
    else if (now - this.#heard > STALE_MS) this.#tell("stale", "Stale: nothing is heard", this.#heard);
    else this.#tell("live", "Live");
  }

  #watch() {
    if (!this.#socket) return;
    if (performance.now() - this.#heard > SILENCE_MS) this.#lose(`nothing was heard for ${SILENCE_MS / 1_000} s`);
    else if (this.isLive || this.#state.name === "stale") this.#judge();
  }

  #lose(why) {
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    const pause = this.#pause * (0.75 + Math.random() / 2);
    this.#pause = Math.min(2 * this.#pause, PAUSE_MAX_MS);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), pause);
    this.#tell("lost", `Not live: ${why}. Connecting again`, this.#old ?? this.#heard);
  }

  // at: when it was live last, by performance.now().
  #tell(name, text, at) {
    if (name === this.#state.name && text === this.#state.text) return;
    const was = this.#state;
    const since = name === "live" || was.name === "connecting" ? 0 : was.since || Date.now() - (performance.now() - at);
    this.#state = { name, text, since };
    this.#onState(this.#state);
  }
}
