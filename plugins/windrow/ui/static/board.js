/* Draws a board: its declaration and its rows come from the server, the charts from Vega-Lite. */
"use strict";

const byId = (id) => document.getElementById(id);
const state = { board: null, rows: null, views: [], width: 0, failures: 0 };

/* --- light and dark: as Airflow around this page, or else as the system --------------------------------------- */

function outer() {
  try {
    return window.parent !== window ? window.parent.document.documentElement : null;
  } catch {
    return null; // a page of somebody else
  }
}

function isDark() {
  const around = outer();
  const said = around && (around.dataset.theme || around.className);
  if (said && /\bdark\b/.test(said)) return true;
  if (said && /\blight\b/.test(said)) return false;
  return window.matchMedia("(prefers-color-scheme: dark)").matches;
}

function dress() {
  const scheme = isDark() ? "dark" : "light";
  if (document.documentElement.dataset.scheme === scheme) return;
  document.documentElement.dataset.scheme = scheme;
  draw();
}

function look() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  return {
    background: null,
    font: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif",
    view: { stroke: null },
    range: { category: [colour("--accent"), colour("--second")] },
    mark: { color: colour("--accent") },
    bar: { color: colour("--accent") },
    line: { color: colour("--second") },
    point: { color: colour("--second") },
    legend: { labelColor: colour("--text") },
    axis: {
      labelColor: colour("--quiet"), labelFontSize: 12, domainColor: colour("--line"),
      tickColor: colour("--line"), gridColor: colour("--line"), gridOpacity: 0.6,
    },
  };
}

/* --- figures -------------------------------------------------------------------------------------------------- */

const formats = {
  number: (value) => Number(value).toLocaleString("en"),
  percent: (value) => `${(100 * value).toFixed(1)} %`,
  ago: (value) => {
    const seconds = Math.max(0, Math.round((Date.now() - Date.parse(value)) / 1000));
    if (seconds < 90) return `${seconds} s ago`;
    if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
    return seconds < 172800 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86400)} days ago`;
  },
};

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text; // text of other people: never as HTML
  return made;
}

function showFigures() {
  const { query, shown } = state.board.figures;
  const row = (state.rows[query] || [])[0];
  byId("figures").replaceChildren(...(row ? shown : []).map((figure) => {
    const card = element("div", "card figure");
    const value = row[figure.field];
    card.append(element("b", "", value === null ? "–" : formats[figure.format](value)), element("span", "", figure.title));
    return card;
  }));
}

/* --- charts --------------------------------------------------------------------------------------------------- */

function draw() {
  if (!state.rows) return;
  showFigures();
  state.views.forEach((view) => view.finalize());
  state.views = [];
  const config = look();
  const cards = state.board.charts.map((chart) => {
    const card = element("section", `card ${chart.width}`);
    card.append(element("h2", "", chart.title));
    const rows = state.rows[chart.query] || [];
    const place = element("div", rows.length ? "chart" : "nothing", rows.length ? undefined : "nothing yet");
    card.append(place);
    return { card, place, chart, rows };
  });
  byId("charts").replaceChildren(...cards.map(({ card }) => card));
  for (const { place, chart, rows } of cards) {
    if (!rows.length) continue;
    const spec = {
      $schema: "https://vega.github.io/schema/vega-lite/v6.json",
      ...chart.spec,
      width: place.clientWidth,
      autosize: { type: "fit-x", contains: "padding" },
      data: { values: rows },
      config,
    };
    const view = new vega.View(vega.parse(vegaLite.compile(spec).spec), { renderer: "svg", container: place });
    view.description(chart.title);
    view.runAsync().catch((error) => console.error(error));
    state.views.push(view);
  }
}

/* --- states --------------------------------------------------------------------------------------------------- */

function notice(kind, heading, text) {
  const box = byId("notice");
  box.hidden = !kind;
  box.classList.toggle("alarm", kind === "alarm");
  if (!kind) return;
  box.querySelector("h2").textContent = heading;
  box.querySelector("p").textContent = text;
  const link = box.querySelector("a");
  const dag = state.board && state.board.dag_id;
  link.hidden = !dag;
  link.textContent = dag ? `Open the DAG ${dag}` : "";
  link.href = new URL(`../../../dags/${encodeURIComponent(dag || "")}`, location.href).href;
}

function say(text, alarm) {
  byId("status").textContent = text;
  byId("status").classList.toggle("alarm", Boolean(alarm));
}

async function ask(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  if (answer.status === 401 || answer.status === 403) throw new Error("You are not signed in, or may not see this page.");
  if (!answer.ok) throw new Error(`The API server answers ${answer.status}.`);
  return answer.json();
}

async function refresh() {
  try {
    state.board = state.board || (await ask("board"));
    byId("title").textContent = document.title = state.board.title;
    const found = await ask("data");
    if (found.state === "failed") throw new Error(found.reason);
    state.failures = 0;
    state.rows = found.rows;
    if (found.state === "empty") {
      byId("figures").replaceChildren();
      byId("charts").replaceChildren();
      notice("empty", "No posts yet",
        `${found.reason || "The tables are empty."} Posts appear here after the first run that finds messages.`);
    } else {
      notice();
      draw();
    }
    say(`updated ${new Date().toLocaleTimeString("en-GB")}, every ${state.board.refresh_s} s`);
  } catch (error) {
    state.failures += 1;
    const kept = state.rows ? " What is shown below is what was there before." : "";
    notice("alarm", "The figures cannot be had", `${error.message}${kept} It is tried again by itself.`);
    say("not up to date", true);
  }
}

/* --- go ------------------------------------------------------------------------------------------------------- */

async function go() {
  dress();
  const around = outer();
  if (around) new MutationObserver(dress).observe(around, { attributes: true });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);
  new ResizeObserver(() => {
    const width = document.documentElement.clientWidth;
    if (width !== state.width) {
      state.width = width;
      draw();
    }
  }).observe(document.documentElement);
  for (;;) {
    if (!document.hidden) await refresh();
    document.documentElement.dataset.ready = "yes";
    const base = state.board ? state.board.refresh_s : 15;
    const pause = base * Math.min(8, 2 ** Math.max(0, state.failures - 1));
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, pause * 1000);
      document.addEventListener("visibilitychange", () => { clearTimeout(timer); resolve(); }, { once: true });
    });
  }
}

go();
