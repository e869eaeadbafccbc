/* One chart of a board: a card that stays, and a picture of Vega-Lite in it whose rows change. */

import { clock, language, number, percent, period } from "./words.js";

const written = { number, percent };

vega.expressionFunction("clock", (instant, detail) => clock(instant, detail));
vega.expressionFunction("percent", (value) => percent(value));

export function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text; // text of other people: never as HTML
  return made;
}

function look() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  return {
    background: null,
    font: style.getPropertyValue("--font").trim(),
    customFormatTypes: true,
    view: { stroke: null },
    range: { category: [colour("--accent"), colour("--second")] },
    bar: { color: colour("--accent"), minBandSize: 1 },
    text: { color: colour("--text"), fontSize: 12 },
    legend: { labelColor: colour("--text"), labelFontSize: 12, symbolType: "square" },
    axis: {
      labelColor: colour("--quiet"), labelFontSize: 12, domainColor: colour("--line"),
      tickColor: colour("--line"), gridColor: colour("--line"), gridOpacity: 0.6,
    },
    style: { second: { color: colour("--second"), fill: colour("--second") } },
  };
}

/* --- tooltips ------------------------------------------------------------------------------------------------- */

function tip(_, event, __, value) {
  const box = document.getElementById("tip");
  box.hidden = !value;
  if (!value) return;
  box.replaceChildren(...Object.entries(value).map(([title, text]) => {
    const line = element("div");
    line.append(element("span", "", title), element("b", "", text));
    return line;
  }));
  const right = event.clientX + 14;
  const beside = right + box.offsetWidth > innerWidth ? event.clientX - 14 - box.offsetWidth : right;
  box.style.left = `${Math.max(4, beside)}px`;
  box.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - box.offsetHeight - 4))}px`;
}

/* --- the chart ------------------------------------------------------------------------------------------------ */

export class Chart {
  constructor(declared) {
    this.declared = declared;
    this.view = null;
    this.card = element("section", `card ${declared.width}`);
    const heading = element("h2", "", declared.title);
    this.period = element("p", "period", declared.period || "");
    this.place = element("div", "chart");
    this.place.setAttribute("role", "img");
    this.place.setAttribute("aria-label", declared.title);
    this.nothing = element("p", "nothing", "Nothing yet");
    this.nothing.hidden = true;
    this.card.append(heading, this.period, this.place, this.nothing);
    const { height } = declared.spec;
    this.place.style.minHeight = `${height.step ? 8 * height.step : height + 30}px`; // the page must not jump
  }

  /** Draw rows, as of an instant. */
  async show(found, now) {
    this.place.style.minHeight = "";
    this.nothing.hidden = found.length > 0;
    this.place.hidden = !found.length;
    if (!found.length) return this.close();
    const { time, names } = this.declared;
    let rows = found;
    const signals = {};
    if (time) {
      const step = 1000 * time.step_s;
      const until = (Math.floor(now / step) + 1) * step;
      rows = found.map((row) => {
        const from = Date.parse(row[time.field]);
        return { ...row, [time.field]: from, until: from + step };
      });
      const oldest = Math.min(...rows.map((row) => row[time.field]));
      const spans = time.windows_s.map((seconds) => 1000 * seconds);
      const length = spans.find((one) => until - one <= oldest) || spans.at(-1);
      Object.assign(signals, { from: until - length, until });
      this.period.textContent = `last ${period(length / 1000)}`;
    }
    if (names) rows = rows.map((row) => ({ ...row, [names]: language(row[names]) }));
    this.place.setAttribute("aria-label", this.summary(rows, signals));
    if (!this.view) this.open(rows, signals);
    else this.view.data("rows", rows);
    for (const [name, value] of Object.entries(signals)) this.view.signal(name, value);
    await this.view.width(this.place.clientWidth).runAsync();
  }

  open(rows, signals) {
    const { spec, time } = this.declared;
    const params = Object.entries(signals).map(([name, value]) => ({ name, value }));
    const apart = { xOffset: { expr: "gap / 2" }, x2Offset: { expr: "-gap / 2" } };
    const mark = time && { clip: true, orient: "vertical", ...apart }; // with x2 alone, bars would lie
    if (time) params.push({ name: "gap", expr: `min(1, 0.15 * width * ${1000 * time.step_s} / (until - from))` });
    const across = time && {
      x: {
        field: time.field, type: "temporal", title: null,
        scale: { type: "utc", nice: false, padding: 0, domainMin: { expr: "from" }, domainMax: { expr: "until" } },
        axis: {
          formatType: "clock", format: time.format, tickCount: 6, grid: false,
          labelOverlap: true, labelSeparation: 12, labelFlush: 30, labelBound: true, // none is cut off on a phone
        },
      },
      x2: { field: "until" },
    };
    const compiled = vegaLite.compile({
      $schema: "https://vega.github.io/schema/vega-lite/v6.json",
      ...spec,
      ...(time && { mark: { ...mark, ...spec.mark } }),
      encoding: { ...across, ...spec.encoding },
      params,
      width: this.place.clientWidth,
      autosize: { type: "fit-x", contains: "padding" },
      padding: 0,
      data: { name: "rows", values: rows },
      config: look(),
    });
    const container = element("div");
    container.setAttribute("aria-hidden", "true"); // the place says it in words, not bar by bar
    this.place.replaceChildren(container);
    this.view = new vega.View(vega.parse(compiled.spec), { renderer: "svg", container });
    this.view.tooltip(tip);
  }

  /** Say in words what the picture shows, for who cannot see it. */
  summary(rows, { from }) {
    const { title, value, time } = this.declared;
    const write = written[value.format];
    const begin = `${title}, ${this.period.textContent}: `;
    if (!time) return begin + rows.map((row) => `${row[value.label]} ${write(row[value.field])}`).join(", ");
    const sums = new Map();
    for (const row of rows.filter((one) => one[time.field] >= from)) {
      sums.set(row[time.field], (sums.get(row[time.field]) || 0) + row[value.field]);
    }
    if (!sums.size) return `${begin}none`;
    const last = Math.max(...sums.keys());
    const most = Math.max(...sums.values());
    return `${begin}${write(sums.get(last))} at ${clock(last, time.format)}, the last; at most ${write(most)}`;
  }

  async resize() {
    if (this.view) await this.view.width(this.place.clientWidth).runAsync();
  }

  /** Take the picture away; the next rows make a new one. */
  close() {
    this.view?.finalize();
    this.view = null;
    this.place.replaceChildren();
  }
}
