/* What a document cannot do by itself: follow Airflow's theme and time zone, lead out of its frame, stay up to date. */

import { opensOutside, scheme, watch, zone } from "./around.js";
import { clock, span } from "./words.js";

const root = document.documentElement;
const LIMIT_MS = 15_000;
let at = root.dataset.at;

function dress() {
  root.dataset.scheme = scheme();
  root.dataset.zone = zone();
  const now = new Date();
  const day = new Intl.DateTimeFormat("en-CA", { timeZone: zone(), dateStyle: "short" });
  for (const one of document.querySelectorAll("time[datetime]")) {
    const instant = new Date(one.dateTime);
    if (Number.isNaN(instant.getTime())) continue;
    const text = clock(one.dateTime, day.format(instant) === day.format(now) ? "minute" : "day");
    const [year] = day.format(instant).split("-");
    one.textContent = day.format(now).startsWith(year) ? text : `${text} ${year}`;
    one.title = `${one.dateTime.slice(0, 19).replace("T", " ")} UTC`;
  }
  tellAge();
}

function tellAge() {
  const age = document.getElementById("age");
  if (!age || !at) return;
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(at)) / 1000));
  age.textContent = ` (${seconds < 5 ? "just now" : `${span(seconds)} ago`})`;
  document.getElementById("asof").classList.toggle("old", seconds > 3 * (Number(root.dataset.again) || 600) + 60);
}

/** Do with new contents what a document cannot do by itself. */
function renewed() {
  dress();
  for (const link of document.querySelectorAll("a.out:not([data-leads])")) {
    link.dataset.leads = "out";
    opensOutside(link);
  }
}

/** Fetch this document again and put its contents in place, unless somebody types or selects. */
async function refresh() {
  const field = document.activeElement;
  const typing = (field instanceof HTMLInputElement || field instanceof HTMLTextAreaElement) && field.value;
  if (!Number(root.dataset.again) || document.hidden || typing || String(getSelection())) return;
  try {
    const answer = await fetch(location.href, { signal: AbortSignal.timeout(LIMIT_MS), headers: { Accept: "text/html" } });
    if (answer.status === 401 || answer.status === 403) return location.reload();
    const found = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!found.querySelector("main")) return undefined;
    const place = [...document.querySelectorAll("main a, main summary")].indexOf(document.activeElement);
    const open = [...document.querySelectorAll("details")].map((one) => one.open);
    for (const name of ["main", "#asof"]) document.querySelector(name).replaceWith(found.querySelector(name));
    document.querySelectorAll("details").forEach((one, number) => { one.open = open[number] ?? false; });
    if (place >= 0) [...document.querySelectorAll("main a, main summary")][place]?.focus({ preventScroll: true });
    at = found.documentElement.dataset.at;
    root.dataset.again = found.documentElement.dataset.again;
    root.dataset.looks = String(Number(root.dataset.looks || 0) + 1);
    document.dispatchEvent(new Event("renewed"));
  } catch {
    tellAge(); // the server is away: the age says how old this is
  }
  return undefined;
}

async function keepUp() {
  for (;;) {
    await new Promise((done) => { setTimeout(done, 1000 * (Number(root.dataset.again) || 60)); });
    await refresh();
  }
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.matches("input, textarea, select")) {
    event.preventDefault();
    document.querySelector("input[name=key]").focus();
  }
});
watch(dress);
renewed();
document.addEventListener("renewed", renewed);
setInterval(tellAge, 5_000);
keepUp();
root.dataset.ready = "yes";
