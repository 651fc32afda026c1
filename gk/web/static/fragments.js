// Folders, the list and the open mail change in place. Every link and form here also works without this module.

import { find, localTimes, nodes, part, post, toast } from "./dom.js";

const query = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value)).toString();
let folder = find("#list")?.dataset.folder ?? "INBOX";
let opened = find("#reading [data-mail]")?.dataset.mail ?? null;
let loading = null;

const asked = {}; // by place: how often something was asked for it

/** Puts what the server renders for `address` in place of `target`. The latest request wins; a link that has the focus keeps it. */
async function replace(target, address) {
  const number = (asked[target] = (asked[target] ?? 0) + 1);
  const html = await part(address);
  const old = find(target);
  if (!old || number !== asked[target]) return;
  const held = old.contains(document.activeElement) && document.activeElement.getAttribute("href");
  old.replaceWith(nodes(html));
  if (held) find(`${target} [href="${CSS.escape(held)}"]`)?.focus({ preventScroll: true });
}

export function view(name) {
  document.body.dataset.view = name;
  for (const tab of document.querySelectorAll(".tabs a")) {
    if (tab.dataset.view === name) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
}

/** The list and the numbers beside the folders, as they are now. */
export async function refresh() {
  await Promise.all([
    replace("#list", `/parts/list?${query({ folder, current: opened })}`),
    replace("#folders", `/parts/folders?${query({ folder })}`),
  ]);
  const count = find('#folders [data-folder="INBOX"] .gk-count')?.firstChild?.textContent ?? "";
  find("#tab-unread").textContent = count;
  document.title = (count && `(${count}) `) + document.title.replace(/^\(\d+\) /, "");
  showCurrentFolder();
}

/** Where the folders are a row, the chosen one may be outside of it. */
function showCurrentFolder() {
  find("#folders [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

/** The address of what is shown: it can be reloaded, bookmarked, and left with the back button. */
function remember() {
  const c = new URL(location).searchParams.get("c");
  const values = { c, folder: folder === "INBOX" ? "" : folder, mail: opened, view: document.body.dataset.view === "mail" && "mail" };
  const address = `/?${query(values)}`.replace(/\?$/, "");
  if (address !== location.pathname + location.search) history.pushState(null, "", address);
}

/** Back and forward: shows what the address says. */
async function recall() {
  const values = new URL(location).searchParams;
  const [c, mail] = [values.get("c"), values.get("mail") ?? location.pathname.match(/^\/mail\/(\d+)$/)?.[1]];
  if (c && c !== "new" && c !== find("#log").dataset.conversation) return location.reload();
  view(values.get("view") ?? (mail ? "mail" : "conversation"));
  const wanted = values.get("folder") ?? "INBOX";
  if (wanted !== folder) await showFolder(wanted);
  if (mail && mail !== opened) await open(mail);
  else if (!mail && opened) await close();
}

async function showFolder(name) {
  folder = name;
  await close(false);
  await refresh();
  find("#list-title").textContent = find(`#folders [data-folder="${CSS.escape(name)}"] .gk-folder-name`)?.textContent ?? name;
  find("#list-pane").scrollTop = 0;
}

async function open(id) {
  loading?.abort();
  loading = new AbortController();
  const html = await part(`/parts/mail/${id}?${query({ folder })}`, loading.signal);
  opened = id;
  const pane = find("#reading");
  pane.replaceChildren(nodes(html));
  pane.hidden = false;
  pane.scrollTop = 0;
  document.body.dataset.reading = "yes";
  find("h2", pane)?.focus({ preventScroll: true });
  seen(id);
}

async function close(focus = true) {
  const id = opened;
  opened = null;
  delete document.body.dataset.reading;
  const pane = find("#reading");
  pane.hidden = true;
  pane.replaceChildren();
  if (focus && id) find(`#list [data-mail="${CSS.escape(id)}"]`)?.focus();
}

/** Reading marks as seen, here and nowhere else. The list follows by the socket. */
export function seen(id) {
  post(`/mail/${id}/seen`);
  for (const line of document.querySelectorAll(`[data-mail="${CSS.escape(id)}"] .gk-is-unread`)) {
    line.classList.remove("gk-is-unread");
    find(".gk-dot", line)?.remove();
  }
}

/** A card in the conversation is opened for the first time: fetch what is inside. */
async function fill(card) {
  const { source, mail } = card.dataset;
  if (!source || !card.open || card.dataset.filled) return;
  card.dataset.filled = "yes";
  const body = find(".gk-card-body", card);
  body.setAttribute("aria-busy", "true");
  try {
    body.replaceChildren(nodes(await part(`/parts/mail/${mail}/text`)));
    seen(mail);
  } catch {
    delete card.dataset.filled;
  } finally {
    body.removeAttribute("aria-busy");
  }
}

async function act(form) {
  const answer = await post(form.getAttribute("action"), Object.fromEntries(new FormData(form)));
  if (answer.html) toast(answer.html);
  if (!answer.ok) return;
  if (answer.close) await close();
  else if (opened) await open(opened);
  await refresh();
}

/** The pictures of a mail are being loaded: what offered it says so, and the focus goes on to the mail. */
function pictures(link) {
  const frame = find("iframe", link.closest(".gk-original"));
  frame.src = link.href;
  frame.focus();
  link.parentElement.textContent = link.dataset.pictures;
}

async function more(link) {
  link.setAttribute("aria-disabled", "true");
  const page = nodes(await part(`/parts/list?${new URL(link.href).searchParams}`));
  const rows = [...page.querySelectorAll("li")];
  find("#list ul")?.append(...rows);
  const next = page.querySelector("[data-more]");
  if (next) link.replaceWith(next);
  else link.remove();
  rows[0]?.querySelector("a")?.focus();
}

const plain = (event) => event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;

/** What a click on a link does here instead of loading the page again; null leaves it to the browser. */
function step(link) {
  if (link.matches(".gk-folder")) return () => showFolder(link.dataset.folder);
  if (link.matches(".gk-item")) return () => open(link.dataset.mail);
  if (link.matches("[data-more]")) return () => more(link);
  if (link.matches("[data-close]")) return () => close();
  if (link.matches("[data-pictures]")) return () => pictures(link);
  if (link.matches(".tabs a")) return () => view(link.dataset.view);
  return null;
}

export function start() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    const go = link && plain(event) && step(link);
    if (!go) return;
    event.preventDefault();
    Promise.resolve(go()).then(remember).catch((error) => error.name === "AbortError" || location.assign(link.href));
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.matches(".gk-action")) return;
    event.preventDefault();
    act(event.target);
  });
  document.addEventListener("toggle", (event) => event.target.matches?.(".gk-card") && fill(event.target), true);
  document.addEventListener("keydown", (event) => event.key === "Escape" && opened && !find(".menu[open]") && close().then(remember));
  addEventListener("popstate", () => recall().catch(() => location.reload()));
  showCurrentFolder();
  setInterval(localTimes, 60_000);
}
