/* A board: its declaration and its rows come from the server; it asks again and again, and says how fresh they are. */

import { airflow, opensOutside, scheme, watch, zone } from "./around.js";
import { Chart, element } from "./chart.js";
import { dagSays } from "./dag.js";
import { ago, clock, number, percent, span } from "./words.js";

const ASK_MS = 60_000;
const MOST_PAUSES = 8;
const TODAY_MS = 12 * 3600_000;
const LATE = 3; // refreshes: rows that are older are said to be
const byId = (id) => document.getElementById(id);
const root = document.documentElement;
const state = { board: null, found: null, charts: [], failures: 0, skew: 0, width: 0, looks: 0 };
let wake = () => {};

const now = () => Date.now() + state.skew; // as the server has it: clocks of phones go wrong

/* --- figures and charts --------------------------------------------------------------------------------------- */

function figure({ field, title, format }, row) {
  const value = row?.[field];
  const card = element("div", `card figure ${format}`);
  const missing = value === null || value === undefined;
  const text = missing ? "–" : { number, percent, ago: (instant) => ago(instant, now()) }[format](value);
  card.append(element("b", "", text), element("span", "", title));
  if (format === "ago" && !missing) {
    const detail = now() - Date.parse(value) < TODAY_MS ? "second" : "day";
    card.append(element("span", "", `, ${clock(value, detail)}`));
  }
  return card;
}

function showFigures() {
  const { query, shown } = state.board.figures;
  byId("figures").replaceChildren(...shown.map((one) => figure(one, state.found?.rows[query]?.[0])));
}

/** Put the cards up, before there is anything to draw in them. */
function setUp() {
  byId("title").textContent = document.title = state.board.title;
  state.charts = state.board.charts.map((chart) => new Chart(chart));
  byId("charts").replaceChildren(...state.charts.map((chart) => chart.card));
  showFigures();
}

async function draw() {
  if (!state.found) return;
  showFigures();
  const instant = Date.parse(state.found.asked_at);
  await Promise.all(state.charts.map((chart) => chart.show(state.found.rows[chart.declared.query] || [], instant)));
}

/* --- states --------------------------------------------------------------------------------------------------- */

/** Show a state, with a notice where it is not simply well: words of everybody go in as text, never as HTML. */
function enter(name, { kind = "", heading = "", lines = [], again = false } = {}) {
  root.dataset.state = name;
  const time = state.found && clock(state.found.asked_at, "second");
  const behind = time && now() - Date.parse(state.found.asked_at) > LATE * 1000 * state.board.refresh_s;
  const fresh = time ? `Updated ${time}, every ${state.board.refresh_s} s. Times: ${zone()}.` : "Loading …";
  const old = time ? `Not up to date: data of ${time}, ${zone()}.` : "Not loaded.";
  const late = name === "failed" || behind;
  byId("status").textContent = late ? old : fresh;
  byId("status").classList.toggle("alarm", late);

  const box = byId("notice").firstElementChild;
  box.hidden = !heading;
  if (!heading) return;
  box.className = `notice ${kind}`;
  box.querySelector("h2").textContent = heading;
  const text = box.querySelector("div");
  const said = lines.filter(Boolean);
  if (text.dataset.said !== said.join("\n")) { // the same words are not read out again
    text.dataset.said = said.join("\n");
    text.replaceChildren(...said.map((line) => element("p", "", line)));
  }
  const link = box.querySelector("a");
  link.hidden = again;
  if (!again) {
    link.textContent = `Open the DAG ${state.board.dag_id}`;
    link.href = airflow(`dags/${encodeURIComponent(state.board.dag_id)}`);
  }
  box.querySelector("button").hidden = !again;
}

function showCards(are) {
  byId("figures").hidden = byId("charts").hidden = !are;
}

async function showEmpty() {
  const { dag_id: dag, empty } = state.board;
  const lines = [state.found.reason, await dagSays(dag), empty];
  showCards(false);
  enter("empty", { heading: "No posts yet", lines });
}

async function showRows() {
  const { dag_id: dag, stale } = state.board;
  showCards(true); // before they are drawn: what is hidden has no width
  await draw();
  const newest = state.found.rows[stale.query]?.[0]?.[stale.field];
  const age = newest ? (now() - Date.parse(newest)) / 1000 : 0;
  if (age < stale.after_s) return enter("ready");
  const lines = [await dagSays(dag), stale.hint];
  return enter("stale", { kind: "warning", heading: `No new post for ${span(age)}`, lines });
}

function showFailure(error) {
  const drawn = state.charts.some((chart) => chart.view);
  showCards(drawn);
  const what = drawn ? "Updating the board failed" : "Loading the board failed";
  const next = `${drawn ? "The charts below show older data. " : ""}The page retries automatically.`;
  enter("failed", { kind: "alarm", heading: what, lines: [error.message, error.remedy, next], again: true });
}

/* --- asking --------------------------------------------------------------------------------------------------- */

function failure(reason, remedy) {
  return Object.assign(new Error(reason), { remedy });
}

async function ask(path) {
  let answer;
  try {
    answer = await fetch(path, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(ASK_MS) });
  } catch {
    throw failure("The Airflow API server does not answer.", "Check that it is running, and check your network.");
  }
  if (answer.status === 401) throw failure("You are signed out.", "Reload Airflow and sign in.");
  if (answer.status === 403) throw failure("You have no permission for this page.", "It needs access to Airflow plugins.");
  if (!answer.ok) throw failure(`The Airflow API server answered ${answer.status}.`, "See its log for details.");
  return answer.json();
}

async function refresh() {
  try {
    if (!state.board) {
      state.board = await ask("board");
      setUp();
    }
    const found = await ask("data");
    if (found.state === "failed") throw failure(found.reason, found.remedy);
    state.skew = Date.parse(found.now) - Date.now();
    state.found = found;
    await (found.state === "empty" ? showEmpty() : showRows());
    if (found.state === "ready" && found.reason) throw failure(found.reason, found.remedy); // rows of before
    state.failures = 0;
  } catch (error) {
    state.failures += 1;
    showFailure(error);
  }
  state.looks += 1;
  root.dataset.looks = state.looks;
}

/* --- go ------------------------------------------------------------------------------------------------------- */

function dress() {
  const before = `${root.dataset.scheme} ${root.dataset.zone}`;
  root.dataset.scheme = scheme();
  root.dataset.zone = zone();
  if (before === `${root.dataset.scheme} ${root.dataset.zone}` || !state.found) return;
  state.charts.forEach((chart) => chart.close()); // colours and labels are part of the picture
  if (!byId("charts").hidden) draw().catch(showFailure);
  wake();
}

async function go() {
  dress();
  watch(dress);
  opensOutside(byId("notice").querySelector("a"));
  byId("notice").querySelector("button").addEventListener("click", () => wake());
  document.addEventListener("visibilitychange", () => { if (!document.hidden) wake(); });
  new ResizeObserver(() => {
    if (root.clientWidth === state.width) return;
    state.width = root.clientWidth;
    state.charts.forEach((chart) => chart.resize());
  }).observe(root);
  for (;;) {
    if (!document.hidden) await refresh();
    const pauses = Math.min(MOST_PAUSES, 2 ** Math.max(0, state.failures - 1));
    await new Promise((resolve) => {
      wake = resolve;
      setTimeout(resolve, 1000 * pauses * (state.board?.refresh_s ?? 15));
    });
  }
}

go();
