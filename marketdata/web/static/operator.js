// The operator's view: nothing without a login. An act is confirmed by its command and the name of who does it.

import { dayAndTime, durationText, grouped, made, phaseWord, say, timeOf } from "./words.js";

const REPORT_MS = 1_000;
// After this time without a report, what is shown is marked as old.
const OLD_MS = 2_000;
const LOOK_MS = 250;

const ACTS = {
  kill: { word: "Kill", does: (name) => `All open orders of ${name} are canceled, and new ones are refused until the kill is lifted.` },
  unkill: { word: "Lift kill", does: (name) => `Orders of ${name} are taken again.` },
  halt: { word: "Halt", does: (name) => `Trading in ${name} stops. Only cancels are taken until it is resumed.` },
  resume: { word: "Resume", does: (name) => `${name} goes into an auction of a minute, then into continuous trading.` },
};

async function call(method, path, body, headers = {}) {
  const answer = await fetch(path, {
    method,
    headers: { accept: "application/json", ...(body ? { "content-type": "application/json" } : {}), ...headers },
    body: body ? JSON.stringify(body) : undefined,
    cache: "no-store",
    credentials: "same-origin",
  });
  let value = {};
  try {
    value = await answer.json();
  } catch {
    // No JSON: the status says enough.
  }
  return { status: answer.status, value };
}

export class OperatorView {
  #root;
  #who = null; // {operator, proof}
  #timer = 0;
  #isShown = false;
  #heard = 0; // when a report came last, or was first asked for
  #reported = ""; // the same as time of the day; "" before the first
  #why = ""; // reason for which none came
  #parts = {};
  #acts = []; // as the exchange tells them, and those to which it gave no answer at all
  #unheard = [];
  #isCopy = false; // acts are then the primary's

  constructor(root) {
    this.#root = root;
    setInterval(() => this.#look(), LOOK_MS);
  }

  async show() {
    if (this.#isShown) return;
    this.#isShown = true;
    let found;
    try {
      found = await call("GET", "/operator/session");
    } catch {
      found = { status: 0, value: { message: "The exchange does not answer; try again in a moment." } };
    }
    if (!this.#isShown) return;
    if (found.status === 200 && found.value.operator) this.#enter(found.value);
    else if (found.status === 200) this.#askLogin("");
    else this.#root.replaceChildren(made("section", { class: "panel sign-in" }, made("h1", {}, "Operator"), made("p", {}, sentence(found.value.message))));
  }

  hide() {
    this.#isShown = false;
    clearTimeout(this.#timer);
  }

  #askLogin(why) {
    clearTimeout(this.#timer);
    this.#who = null;
    document.querySelector("dialog")?.close(); // a session may end while an act waits for its confirmation
    const name = made("input", { id: "name", name: "username", autocomplete: "username", required: true, spellcheck: "false", autocapitalize: "none" });
    const password = made("input", { id: "password", type: "password", name: "password", autocomplete: "current-password", required: true });
    const error = made("p", { class: "error", role: "alert", id: "sign-in-error" }, why);
    const button = made("button", { type: "submit", class: "main" }, "Sign in");
    const form = made(
      "form", { class: "panel sign-in", novalidate: true },
      made("h1", {}, "Operator"),
      made("p", { class: "quiet" }, "Nodes, latencies, sessions, and what stops a market. Nothing of it is shown without a login."),
      made("label", { for: "name" }, "Name"), name,
      made("label", { for: "password" }, "Password"), password,
      error, button,
    );
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (!name.value || !password.value) {
        say(error, "Give a name and a password.");
        (name.value ? password : name).focus();
        return;
      }
      button.disabled = true;
      try {
        const { status, value } = await call("POST", "/operator/session", { name: name.value, password: password.value });
        if (status === 200) {
          this.#enter(value);
          return;
        }
        say(error, sentence(value.message ?? `Status ${status}`));
      } catch {
        say(error, "The exchange does not answer; try again in a moment.");
      }
      password.value = "";
      password.focus();
      button.disabled = false;
    });
    this.#root.replaceChildren(form);
    name.focus();
  }

  #enter(who) {
    this.#who = who;
    this.#reported = this.#why = "";
    const parts = (this.#parts = {});
    const part = (name, title, ...children) => {
      parts[name] = made("div", { class: "scroll", tabindex: 0, role: "region", "aria-labelledby": `${name}-title` });
      return made("section", { class: `panel ${name}`, "aria-labelledby": `${name}-title` }, made("h2", { id: `${name}-title` }, title), ...children, parts[name]);
    };
    parts.mark = made("span", { class: "mark", id: "report-mark" });
    parts.said = made("p", { class: "act-said", id: "act-said", role: "status", "aria-live": "polite" });
    const out = made("button", { type: "button", onclick: () => this.#leave() }, "Sign out");
    this.#root.replaceChildren(
      made(
        "div", { class: "panel head" },
        made("h1", {}, "Operator"),
        made("p", {}, "Signed in as ", made("strong", { id: "operator-name" }, who.operator)),
        parts.mark, out,
      ),
      part("alerts", "Alerts"),
      part("nodes", "Nodes"),
      part("instruments", "Instruments", parts.said),
      part("participants", "Participants"),
      part("latencies", "Latencies, last 10 s"),
      part("processes", "Processes and readers"),
      part("sessions", "Sessions"),
      part("acts", "Done on this page, by all operators"),
    );
    this.#showActs();
    this.#fillEmpty("No report has come yet.");
    this.#heard = performance.now();
    this.#poll();
  }

  async #leave() {
    const out = await call("DELETE", "/operator/session").catch(() => null);
    this.#askLogin(
      out?.status === 200
        ? "You are signed out."
        : "The exchange did not answer: your session may last for 15 minutes more. Reload the page, and sign out again.",
    );
  }

  async #poll() {
    clearTimeout(this.#timer);
    if (!this.#isShown || !this.#who) return;
    try {
      const { status, value } = await call("GET", "/operator/report");
      if (!this.#isShown || !this.#who) return;
      if (status === 401) {
        this.#askLogin("The session has ended; sign in again.");
        return;
      }
      if (value.acts) {
        this.#acts = value.acts;
        this.#showActs();
      }
      if (status === 200) {
        this.#heard = performance.now();
        this.#reported = timeOf(new Date().toISOString());
        this.#why = "";
        this.#showReport(value);
      } else {
        this.#why = sentence(value.message ?? `status ${status}`);
      }
      if (value.instruments) this.#showNames(value);
    } catch {
      this.#why = "The page's server does not answer.";
    }
    this.#look();
    this.#timer = setTimeout(() => this.#poll(), REPORT_MS);
  }

  // Mark what is old: a report that is late is as good as one that was refused.
  #look() {
    if (!this.#isShown || !this.#who) return;
    const age_ms = performance.now() - this.#heard;
    const isOld = !this.#reported || age_ms > OLD_MS;
    this.#root.dataset.live = isOld ? "no" : "yes";
    say(this.#parts.mark, isOld ? (age_ms > OLD_MS ? `Not live for ${Math.floor(age_ms / 1_000)} s` : "Asking the node") : "");
    if (!isOld || age_ms <= OLD_MS) return;
    const why = this.#why || "The node does not answer.";
    this.#alert([`${why} ${this.#reported ? `What is below is of ${this.#reported} UTC.` : "Nothing is known of the node."}`]);
    if (!this.#reported) this.#fillEmpty("Not known: no report has come.");
  }

  // Text of the panels that have nothing from the node yet.
  #fillEmpty(text) {
    for (const name of ["alerts", "nodes", "latencies", "processes", "sessions", "instruments", "participants"]) {
      const place = this.#parts[name];
      if (!place.querySelector("table, ul") && !place.dataset.key) place.replaceChildren(made("p", { class: "empty" }, text));
    }
  }

  #alert(found, none = "None. The node is open.") {
    const list = found.length
      ? made("ul", { class: "alert-list" }, ...found.map((each) => made("li", {}, each)))
      : made("p", { class: "empty" }, none);
    if (list.textContent !== this.#parts.alerts.textContent) this.#parts.alerts.replaceChildren(list);
  }

  // The report.

  #showReport(report) {
    this.#isCopy = Boolean(report.pair && report.pair.role !== "primary" && report.pair.role !== "single");
    this.#showAlerts(report);
    this.#fill("nodes", nodes(report));
    this.#fill("latencies", latencies(report.status));
    this.#fill("processes", processes(report));
    this.#fill("sessions", sessions(report));
  }

  // What acts can be of: the page's server knows that without the node, which may have to be told to halt all the same.
  #showNames({ instruments, participants }) {
    this.#fillActs(
      "instruments", ["Instrument", "Phase"],
      instruments.map(({ instrument, phase }) => [
        [instrument, phaseWord(phase)], instrument, this.#isCopy ? [] : [phase === "halted" ? "resume" : "halt"],
      ]),
      "No instrument is defined yet.",
    );
    this.#fillActs(
      "participants", ["Participant", "State"],
      participants.map(({ participant, killed }) => [
        [participant, killed ? "killed" : "trades"], participant, this.#isCopy ? [] : [killed ? "unkill" : "kill"],
      ]),
      "No participant is defined yet.",
    );
  }

  #showAlerts({ status, pair, processes }) {
    const found = [];
    const follows = followed({ status, pair });
    if (status.state !== "open" && !follows) found.push(`${status.state}: ${status.state_reason || "no reason was given"}`);
    if (status.warning) found.push(status.warning);
    if (status.diverged) found.push("A node has another state than the other one.");
    for (const each of pair?.divergences ?? []) found.push(each);
    for (const each of pair?.warnings ?? []) if (!found.some((other) => other.includes(each))) found.push(each);
    if (pair?.arbiter) found.push(`The arbiter does not answer: ${pair.arbiter}`);
    if (pair?.role === "primary" && pair.in_sync.length < 2 && !found.some((each) => each.includes("no standby is in sync"))) {
      found.push("No standby is in sync: nobody could take over.");
    }
    // The process that keeps the events of a closed slice ends with its work; its failure is a warning of the node.
    const ends = (each) => each.process === "events" && each.state === "ended";
    for (const each of processes) if (each.state !== "running" && !ends(each)) found.push(`Process ${each.process} is ${each.state}${each.reason ? `: ${each.reason}` : ""}`);
    this.#alert(found.map(sentence), follows ? `None. This node is a copy of ${follows}, which takes orders and acts.` : undefined);
  }

  // A table of text: {heads, rows, empty}; a head is a name, or [name, true] for numbers. Rows that are there are kept.
  #fill(name, { heads, rows, empty }) {
    const place = this.#parts[name];
    let table = place.querySelector("table");
    if (!rows.length) {
      if (table || place.textContent !== empty) place.replaceChildren(made("p", { class: "empty" }, empty));
      return;
    }
    if (!table) {
      table = made("table", {}, made("thead", {}, made("tr", {}, ...heads.map((head) => cell("th", head, head, { scope: "col" })))), made("tbody"));
      place.replaceChildren(table);
    }
    const body = table.tBodies[0];
    while (body.rows.length > rows.length) body.deleteRow(-1);
    rows.forEach((row, n) => {
      const tr = body.rows[n] ?? body.appendChild(made("tr", {}, ...heads.map((head, at) => cell(at ? "td" : "th", "", head, at ? {} : { scope: "row" }))));
      row.forEach((text, at) => {
        say(tr.cells[at], String(text ?? "–"));
        if (String(text).length > 24) tr.cells[at].title = text;
      });
    });
  }

  // A table whose rows have buttons: rows of [texts, name, acts].
  #fillActs(name, heads, rows, empty) {
    const key = JSON.stringify(rows);
    const place = this.#parts[name];
    if (place.dataset.key === key) return;
    const focused = document.activeElement?.dataset?.act;
    place.dataset.key = key;
    if (!rows.length) {
      place.replaceChildren(made("p", { class: "empty" }, empty));
      return;
    }
    place.replaceChildren(
      made(
        "table", {},
        made("thead", {}, made("tr", {}, ...heads.map((head) => made("th", { scope: "col" }, head)), made("th", { scope: "col" }, made("span", { class: "hidden" }, "Acts")))),
        made("tbody", {}, ...rows.map(([texts, of, acts]) => made(
          "tr", { "data-state": texts[1] },
          ...texts.map((text, at) => made(at ? "td" : "th", at ? {} : { scope: "row" }, text)),
          made("td", { class: "acts" }, ...acts.map((act) => made(
            "button",
            { type: "button", class: act === "kill" || act === "halt" ? "danger" : "", "data-act": `${act} ${of}`, "aria-label": `${ACTS[act].word} ${of}`, onclick: () => this.#confirm(act, of) },
            ACTS[act].word,
          ))),
        ))),
      ),
    );
    if (focused && document.activeElement === document.body) place.querySelector(`[data-act="${CSS.escape(focused)}"]`)?.focus();
  }

  // Acts.

  #confirm(act, name) {
    const { word, does } = ACTS[act];
    const { operator, proof } = this.#who;
    const error = made("p", { class: "error", role: "alert" });
    const no = made("button", { type: "button", value: "no" }, "Cancel");
    const yes = made("button", { type: "button", class: act === "kill" || act === "halt" ? "danger main" : "main", id: "confirm-yes" }, `${word} ${name}`);
    const dialog = made(
      "dialog", { "aria-labelledby": "confirm-title", "aria-describedby": "confirm-does" },
      made("h2", { id: "confirm-title" }, `${word} ${name}?`),
      made("p", { id: "confirm-does" }, does(name)),
      made(
        "dl", {},
        made("div", {}, made("dt", {}, "Command"), made("dd", {}, made("code", {}, `${act} ${name}`))),
        made("div", {}, made("dt", {}, "By"), made("dd", {}, operator)),
        made("div", {}, made("dt", {}, "Recorded"), made("dd", {}, "the command in the journal, your name in the log and below")),
      ),
      error,
      made("div", { class: "choices" }, no, yes),
    );
    no.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => dialog.remove());
    yes.addEventListener("click", async () => {
      yes.disabled = no.disabled = true;
      const asked = new Date().toISOString();
      let found;
      try {
        found = await call("POST", "/operator/acts", { act, name }, { "x-lockstep-proof": proof });
      } catch {
        found = { status: 0, value: { message: `\`${act} ${name}\` is not confirmed, it may be done: the exchange does not answer; look at the report before you do it again` } };
      }
      const { status, value } = found;
      if (status === 401) {
        dialog.close();
        this.#askLogin("The session has ended; nothing was done. Sign in again.");
        return;
      }
      const done = status === 200;
      const said = done
        ? `Done by ${value.operator}: ${value.command}, command ${grouped(value.seq)}.`
        : sentence(value.message ?? `The market refused ${value.command}: ${(value.events ?? []).join(", ").replaceAll("> ", "")}`);
      if (!status) this.#unheard.unshift({ time: asked, operator, command: `${act} ${name}`, seq: 0, result: said });
      this.#unheard.length = Math.min(this.#unheard.length, 50);
      if (!this.#who) {
        this.#askLogin(said);
        return;
      }
      this.#showActs();
      say(this.#parts.said, said);
      if (done) {
        dialog.close();
        this.#poll();
      } else {
        say(error, said);
        no.disabled = false;
        no.focus();
      }
    });
    document.body.append(dialog);
    dialog.showModal();
    no.focus();
  }

  #showActs() {
    const newest = [...this.#unheard, ...this.#acts].sort((a, b) => (a.time < b.time ? 1 : a.time > b.time ? -1 : 0));
    const rows = newest.map((each) => [
      dayAndTime(each.time), each.command, each.operator, each.seq ? grouped(each.seq) : "–", each.result,
    ]);
    this.#fill("acts", { heads: ["Time (UTC)", "Command", "By", ["Number", true], "Came of it"], rows, empty: "Nothing yet." });
  }
}

function cell(tag, text, head, attributes) {
  const [name, number] = Array.isArray(head) ? head : [head, false];
  return made(tag, { ...attributes, class: number ? "number" : undefined }, Array.isArray(text) || text === head ? name : text);
}

const sentence = (text) => {
  const whole = String(text ?? "").trim().replace(/\.$/, "");
  return whole ? `${whole[0].toUpperCase()}${whole.slice(1)}.` : "";
};

// Name of the primary that a copy follows as it should; "" for any other node.
function followed({ status, pair }) {
  return pair && pair.role !== "primary" && pair.state === "following" && status.state === "standby" ? pair.primary : "";
}

// This node, and those that it knows of. What is compared up to the last command here has the digest of this node.
function nodes({ status, pair }) {
  const heads = ["Node", "Role", "State", ["Epoch", true], ["Command", true], ["Behind", true], "Event digest", "Digests equal"];
  const own = [
    pair ? `${pair.node} (this node)` : "This node", pair ? pair.role : "alone", pair ? pair.state : status.state, pair ? pair.epoch : "–",
    grouped(status.seq), pair?.role === "primary" ? "–" : pair ? grouped(pair.lag_commands) : "–",
    status.event_digest, pair ? `up to ${grouped(pair.agreed_seq)}` : "–",
  ];
  const digest = (agreed_seq) => (agreed_seq >= status.seq ? status.event_digest : "compared by block");
  const others = (pair?.copies ?? []).map((each) => [
    each.name, each.role, each.in_sync ? "in sync" : "not in sync", pair.epoch, grouped(each.received_seq),
    grouped(each.lag_commands), pair.diverged.includes(each.name) ? "differs" : digest(each.agreed_seq), `up to ${grouped(each.agreed_seq)}`,
  ]);
  if (pair?.role === "primary" && !others.length) others.push(["–", "standby", "none is connected", "–", "–", "–", "–", "–"]);
  if (pair && pair.role !== "primary" && pair.primary) {
    others.push([pair.primary, "primary", "by the arbiter's record", pair.epoch, "–", "–", digest(pair.agreed_seq), `up to ${grouped(pair.agreed_seq)}`]);
  }
  return { heads, rows: [own, ...others], empty: "" };
}

function latencies(status) {
  const stages = Object.keys(status).filter((key) => /^latency_.*_p50_ns$/.test(key)).map((key) => key.slice(8, -7));
  const rows = stages.map((stage) => [
    stage.replaceAll("_", " "), ...["p50", "p99", "p999"].map((which) => durationText(status[`latency_${stage}_${which}_ns`])),
  ]);
  return { heads: ["Stage", ["p50", true], ["p99", true], ["p99.9", true]], rows, empty: "Nothing was measured yet." };
}

function processes({ processes, readers }) {
  const unread = new Map(readers.map((each) => [each.reader, each.lag_bytes]));
  const lag = (name) => (unread.has(name) ? grouped(unread.get(name)) : "–");
  const rows = processes.map((each) => [each.process, each.state, each.pid ?? "–", each.restarts, lag(each.process), each.reason || ""]);
  const known = new Set(processes.map((each) => each.process));
  for (const each of readers.filter(({ reader }) => !known.has(reader))) {
    rows.push([each.reader, "reads", each.pid ?? "–", "–", lag(each.reader), ""]);
  }
  return { heads: ["Process", "State", ["Pid", true], ["Restarts", true], ["Tape unread, bytes", true], "Reason"], rows, empty: "" };
}

function sessions({ sessions, sessions_total: total }) {
  const rows = sessions.map((each) => [
    each.user || "–", each.participant || "–", each.address, each.state, grouped(each.next_seq ?? 0), grouped(each.lag_bytes ?? 0), each.since ? timeOf(each.since) : "–",
  ]);
  if (total > rows.length) rows.push([`and ${grouped(total - rows.length)} more`, "", "", "", "", "", ""]);
  return { heads: ["User", "Participant", "Address", "State", ["Next message", true], ["Unsent bytes", true], "Since"], rows, empty: "No client is connected for order entry." };
}
