// What every other module needs: HTML from our server into the page, times on the reader's clock, requests to our server.

// The one place where text becomes markup. The Content-Security-Policy allows no other (require-trusted-types-for 'script').
const policy = globalThis.trustedTypes?.createPolicy("gk", { createHTML: (html) => html });

/** HTML that our own server rendered, as nodes. */
export function nodes(html) {
  const template = document.createElement("template");
  template.innerHTML = policy ? policy.createHTML(html) : html;
  localTimes(template.content);
  return template.content;
}

export const find = (selector, root = document) => root.querySelector(selector);

const sameDay = (a, b) => a.toDateString() === b.toDateString();

/** Rewrites every <time> below `root` for the time zone of this browser. */
export function localTimes(root = document) {
  const language = document.documentElement.lang;
  const locale = navigator.languages?.find((name) => name.startsWith(language)) ?? language;
  const now = new Date();
  const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  const format = (options, date) => new Intl.DateTimeFormat(locale, options).format(date);
  for (const time of root.querySelectorAll("time[datetime]")) {
    const date = new Date(time.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    const full = format({ weekday: "long", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" }, date);
    time.title = full;
    const age = now - date;
    if (time.dataset.form === "full") time.textContent = full;
    else if (sameDay(date, now)) time.textContent = format({ hour: "2-digit", minute: "2-digit" }, date);
    else if (sameDay(date, yesterday)) time.textContent = new Intl.RelativeTimeFormat(locale, { numeric: "auto" }).format(-1, "day");
    else if (age > 0 && age < 6 * 86_400_000) time.textContent = format({ weekday: "long" }, date);
    else if (date.getFullYear() === now.getFullYear()) time.textContent = format({ day: "numeric", month: "short" }, date);
    else time.textContent = format({ day: "numeric", month: "short", year: "numeric" }, date);
  }
}

/** A GET for a part of the page; a session that has ended leads to the sign-in page. */
export async function part(address, signal) {
  const answer = await fetch(address, { headers: { "X-GK": "part" }, signal, cache: "no-store" });
  if (answer.status === 401) {
    location.assign("/sign-in");
    return new Promise(() => {}); // the page is left: nothing comes after this
  }
  if (!answer.ok) throw new Error(`${answer.status} ${address}`);
  return answer.text();
}

/** A POST of named values, with the proof that it comes from our page. Returns the JSON that the server answers. */
export async function post(address, values = {}) {
  const body = new URLSearchParams({ ...values, csrf: document.body.dataset.csrf });
  const answer = await fetch(address, { method: "POST", body, headers: { Accept: "application/json" } });
  if (answer.status === 401) location.assign("/sign-in");
  return { ok: answer.ok, ...(await answer.json().catch(() => ({}))) };
}

/** Shows a notice for a few seconds; longer while it has the pointer or the focus. */
export function toast(html) {
  const notice = nodes(html).firstElementChild;
  const region = find("#toasts");
  if (!notice || !region) return;
  region.append(notice);
  while (region.children.length > 3) region.firstElementChild.remove();
  const leave = () => (notice.matches(":hover, :focus-within") ? setTimeout(leave, 2000) : notice.remove());
  setTimeout(leave, 6000);
}
