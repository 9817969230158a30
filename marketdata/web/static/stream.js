// The WebSocket of the exchange: it says whether what is shown is live, and connects again by itself.
//
// It is live while messages come: each market has a heartbeat a second. After a silence the connection is given up, even
// if it seems open, and everything is built anew over the next one. Nothing of a connection outlives it.

const SILENCE_MS = 3_000;
const SILENCE_WITHOUT_MARKETS_MS = 12_000;
const PAUSE_MS = 500;
const PAUSE_MAX_MS = 15_000;
// Pairs of channel and market that a subscriber may have; two are for the market that is looked at.
const PAIRS_MAX = 1_024;
const EACH = ["ticker", "heartbeat", "auctionfeed"];

export const LISTED_MAX = Math.floor((PAIRS_MAX - 8) / EACH.length);

export class Stream {
  #socket = null;
  #onMessage;
  #onState;
  #heard = 0;
  #pause = PAUSE_MS;
  #timer = 0;
  #listed = new Set();
  #focus = "";
  #last = new Map();
  #state = { name: "connecting", text: "Connecting" };

  // onState: {name, text}; name is connecting, live, or lost.
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
    if (before) this.#send("unsubscribe", [before], ["level2", "matches"]);
    if (product) this.#send("subscribe", [product], ["level2", "matches"]);
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
    this.#listed.clear();
    this.#last.clear();
    socket.onopen = () => {
      if (socket !== this.#socket) return;
      socket.send(JSON.stringify({ type: "subscribe", channels: ["status"] }));
      if (this.#focus) this.#send("subscribe", [this.#focus], ["level2", "matches"]);
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
    if (message.type === "status") this.#list(message.products.map((each) => each.id));
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
    if (message.type === "status" && !this.isLive) {
      this.#pause = PAUSE_MS;
      this.#tell("live", "Live");
    }
  }

  #list(products) {
    const fresh = products.filter((each) => !this.#listed.has(each)).slice(0, LISTED_MAX - this.#listed.size);
    fresh.forEach((each) => this.#listed.add(each));
    this.#send("subscribe", fresh, EACH);
  }

  #watch() {
    const silence = this.#listed.size ? SILENCE_MS : SILENCE_WITHOUT_MARKETS_MS;
    if (this.#socket && performance.now() - this.#heard > silence) {
      this.#lose(`nothing was heard for ${silence / 1_000} s`);
    }
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
    this.#tell("lost", `Not live: ${why}. Connecting again`);
  }

  #tell(name, text) {
    if (name === this.#state.name && text === this.#state.text) return;
    this.#state = { name, text };
    this.#onState(this.#state);
  }
}
