/* How values are written: numbers, shares, ages, times, spans, languages. */

import { zone } from "./around.js";

const clocks = {
  second: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
  minute: { hour: "2-digit", minute: "2-digit" },
  hour: { weekday: "short", hour: "2-digit", minute: "2-digit" },
  day: { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
};

/** Write an instant as a clock shows it, with as much of the date as `detail` asks for. */
export function clock(instant, detail) {
  const options = { ...clocks[detail], hourCycle: "h23", timeZone: zone() };
  return new Intl.DateTimeFormat("en-GB", options).format(new Date(instant)).replace(",", "");
}

export function number(value) {
  return Number(value).toLocaleString("en");
}

export function percent(value) {
  return `${(100 * value).toFixed(1)} %`;
}

export function ago(instant, now) {
  const seconds = Math.max(0, Math.round((now - Date.parse(instant)) / 1000));
  return seconds < 5 ? "just now" : `${span(seconds)} ago`;
}

/** Write seconds in the unit that suits them. */
export function span(seconds) {
  const units = [[172800, 86400, "days"], [5400, 3600, "h"], [90, 60, "min"], [0, 1, "s"]];
  const [, length, unit] = units.find(([least]) => seconds >= least);
  return `${Math.round(seconds / length)} ${unit}`;
}

/** Write the length of an axis in words. */
export function period(seconds) {
  if (seconds > 86400) return `${seconds / 86400} days`;
  return seconds > 3600 ? `${seconds / 3600} hours` : `${seconds / 60} minutes`;
}

/** Name a language by its tag; X has tags of its own, which stay as they are. */
export function language(tag) {
  if (tag === "und") return "unknown";
  try {
    return new Intl.DisplayNames("en", { type: "language" }).of(tag);
  } catch {
    return tag;
  }
}
