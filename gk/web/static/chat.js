// The conversation: a WebSocket that brings numbered turns, rendered by the server.
// After a lost connection it asks for what came after the last number it has: nothing twice, nothing missing.

import { find, nodes, toast } from "./dom.js";

const SIGNED_OUT = 4401;
const GONE = 4404;

export class Chat extends EventTarget {
  constructor(log, form) {
    super();
    this.log = log;
    this.form = form;
    this.box = find("textarea", form);
    this.id = log.dataset.conversation;
    this.tries = 0;
    this.ready = false; // what was missed has arrived, requests can go out
    this.early = []; // requests made before that, in a page that has just been loaded
    this.working = false; // somebody works on this conversation
    this.waiting = null; // what was sent and is not yet seen in the conversation
    this.connect();
    new ResizeObserver(() => this.log.scrollTop === this.followed && this.follow()).observe(log);
    addEventListener("online", () => this.now());
    addEventListener("pageshow", () => this.now());
    document.addEventListener("visibilitychange", () => document.hidden || this.now());
  }

  /** The number of the last event that is shown. */
  get after() {
    return Number(this.log.dataset.after);
  }

  set after(number) {
    this.log.dataset.after = number;
  }

  connect() {
    clearTimeout(this.timer);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/chat/${this.id}/ws?after=${this.after}`);
    this.socket = socket;
    socket.onmessage = ({ data }) => socket === this.socket && this.receive(JSON.parse(data));
    socket.onclose = ({ code }) => socket === this.socket && this.closed(code);
  }

  /** Do not wait for the next attempt. */
  now() {
    if (this.socket.readyState === WebSocket.CLOSED) this.connect();
  }

  closed(code) {
    if (code === SIGNED_OUT) return location.assign("/sign-in");
    if (code === GONE) return location.assign("/");
    this.ready = false;
    if (this.early.splice(0).length) this.giveBack();
    const wait = Math.min(10_000, 250 * 2 ** this.tries++) * (0.75 + Math.random() / 2);
    this.timer = setTimeout(() => this.connect(), wait);
    if (this.tries > 1) find("#offline").hidden = false;
  }

  receive(message) {
    const act = {
      ready: () => this.caughtUp(),
      turn: () => this.turn(message),
      token: () => this.token(message),
      busy: () => this.busy(message.busy),
      title: () => this.title(message.text),
      mail: () => this.dispatchEvent(new Event("mail")),
      toast: () => toast(message.html),
      refused: () => this.refused(message),
    }[message.type];
    act?.();
  }

  /** All that was missed has arrived: what was sent before the connection broke either shows by now, or never reached the server. */
  caughtUp() {
    this.tries = 0;
    this.ready = true;
    find("#offline").hidden = true;
    if (!this.early.length) this.giveBack();
    for (const message of this.early.splice(0)) this.send(message);
  }

  /** Words that went nowhere are in the composer again, unless something else stands there by now. */
  giveBack() {
    if (this.waiting && !this.box.value) this.box.value = this.waiting;
    this.waiting = null;
  }

  turn({ n, html, kind, key }) {
    if (n && n <= this.after) return;
    if (n) this.after = n;
    if (kind === "user") this.waiting = null;
    if (kind !== "token") this.live?.remove();
    const near = this.atEnd();
    find("#greeting")?.remove();
    if (kind === "error" || kind === "done") this.release();
    const content = nodes(html);
    const old = key && find(`[data-approval="${CSS.escape(key)}"]`, this.log);
    if (old) old.replaceWith(content);
    else this.log.append(content);
    if (near || kind === "user" || kind === "approval") this.follow();
    for (const card of this.log.querySelectorAll(".gk-turn:last-child .gk-card[open]")) this.dispatchEvent(new CustomEvent("read", { detail: card.dataset.mail }));
  }

  /** A piece of an answer that is still being written. The whole answer replaces it. */
  token({ n, text, whole }) {
    if (n && n <= this.after) return;
    if (n) this.after = n;
    const near = this.atEnd();
    this.live = find("[data-live]", this.log);
    if (!this.live) {
      this.live = document.createElement("div");
      this.live.className = "gk-turn gk-turn-assistant gk-plain";
      this.live.dataset.live = "";
      this.live.setAttribute("aria-busy", "true");
      this.log.append(this.live);
    }
    if (whole) this.live.textContent = ""; // all there is of it by now: after a break, or in a page that came late
    this.live.append(text);
    if (near) this.follow();
  }

  /** While the assistant works, the button that sends is the one that stops. */
  busy(busy) {
    this.working = busy;
    find("#working").hidden = !busy;
    this.log.setAttribute("aria-busy", String(busy));
    const focused = this.form.contains(document.activeElement);
    find("#send").hidden = busy;
    find("#stop").hidden = !busy;
    if (focused) this.box.focus();
  }

  stop() {
    this.send({ type: "stop" });
  }

  /** What the person said last. */
  get last() {
    return [...this.log.querySelectorAll(".gk-turn-user .gk-bubble")].at(-1)?.textContent ?? "";
  }

  /** What the conversation is called, once it has begun: from then on it has an address, and a row in the menu. */
  title(text) {
    if (!text) return;
    find(".talk-title").textContent = text;
    const address = new URL(location);
    address.searchParams.set("c", this.id);
    if (address.href !== location.href) history.replaceState(null, "", address);
    const sheet = find(".talk-head .menu-sheet");
    if (find(`[href="/?c=${CSS.escape(this.id)}"]`, sheet)) return;
    const row = document.createElement("a");
    row.href = `/?c=${this.id}`;
    row.setAttribute("aria-current", "page");
    row.append(Object.assign(document.createElement("span"), { textContent: text }));
    find(".gk-quiet", sheet)?.remove();
    sheet.prepend(row);
  }

  /** A request that was not begun: the words go back to the composer, the card can be pressed again. */
  refused({ html }) {
    toast(html);
    this.release();
    this.giveBack();
  }

  /** Cards that are still questions can be answered again. */
  release() {
    for (const button of this.log.querySelectorAll("form.gk-approval button")) button.disabled = false;
  }

  /** Whether the reader is where new things appear, and not somewhere above. */
  atEnd() {
    return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 120 || this.log.scrollTop === this.followed;
  }

  /** Shows what is new, but never scrolls the question away: a long answer is read from its beginning. */
  follow() {
    const question = [...this.log.querySelectorAll(".gk-turn-user")].at(-1);
    const waiting = [...this.log.querySelectorAll("form.gk-approval")].at(-1);
    const end = this.log.scrollHeight - this.log.clientHeight;
    const first = question && !(waiting && question.compareDocumentPosition(waiting) & Node.DOCUMENT_POSITION_FOLLOWING) ? question.offsetTop - 12 : end;
    this.log.scrollTop = Math.min(first, end);
    this.followed = this.log.scrollTop;
  }

  send(message) {
    if (this.ready) this.socket.send(JSON.stringify(message));
    else if (this.tries === 0 && this.socket.readyState <= WebSocket.OPEN) this.early.push(message);
    else {
      find("#offline").hidden = false;
      this.now();
      return false;
    }
    return true;
  }

  say(text) {
    if (!text.trim() || this.waiting || !this.send({ type: "say", text })) return false;
    this.waiting = text;
    return true;
  }

  decide(form, approved) {
    const fields = Object.fromEntries(new FormData(form));
    delete fields.csrf;
    const { reason = "", ...changed } = fields;
    if (!this.send({ type: "decide", approval: form.dataset.approval, approved, reason, fields: changed })) return;
    for (const button of form.querySelectorAll("button")) button.disabled = true;
    this.box.focus();
  }
}
