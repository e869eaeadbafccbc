/* The page Plan: starts runs by Airflow's API, and shows with which params a run was started. */

import { AirflowError, get, post } from "./airflow-api.js";

const DRY_RUN = "plan__"; // runs whose ids begin so are dry runs, also for the pages of the server
const shown = new Map();

function runs(dag, run) {
  return `dags/${encodeURIComponent(dag)}/dagRuns${run ? `/${encodeURIComponent(run)}` : ""}`;
}

/** Return what a field holds, as the param has it. */
function valueOf(field) {
  const text = field.value.trim();
  if (field.dataset.kind === "checkbox") return field.checked;
  if (field.dataset.kind === "lines") return text ? text.split("\n").map((line) => line.trim()).filter(Boolean) : null;
  if (text === "") return null;
  return field.dataset.kind === "number" ? Number(text) : text;
}

/** Return the params that differ from their defaults. */
function paramsOf(form) {
  const found = {};
  for (const field of form.querySelectorAll("[data-param]")) {
    const value = valueOf(field);
    const standard = JSON.parse(field.dataset.default);
    const empty = value === null && (standard === null || standard === "" || standard.length === 0);
    if (!empty && JSON.stringify(value) !== JSON.stringify(standard)) found[field.dataset.param] = value;
  }
  const text = form.querySelector("#json").value.trim();
  let more = {};
  try {
    more = text ? JSON.parse(text) : {};
  } catch (error) {
    throw new AirflowError(`The box has no valid JSON: ${error.message}. Correct it; no run was started.`, 0);
  }
  if (typeof more !== "object" || more === null || Array.isArray(more)) {
    throw new AirflowError('The box needs a JSON object, like {"names": ["Ada"]}. No run was started.', 0);
  }
  return { ...found, ...more };
}

async function plan(form) {
  const dag = form.dataset.dag;
  const conf = { ...paramsOf(form), plan_only: true };
  const run = await post(runs(dag), { dag_run_id: DRY_RUN + new Date().toISOString(), logical_date: null, conf });
  return `plan?${new URLSearchParams({ dag, id: run.dag_run_id })}`;
}

/** Start the run of a plan. Its id follows from that of the plan, so that Airflow refuses a second one. */
async function start(form) {
  const { starts: dag, run } = form.dataset;
  const { conf } = await get(runs(dag, run));
  const id = `planned__${run.slice(run.indexOf("__") + 2)}`;
  const note = `Planned by ${run}.`;
  try {
    await post(runs(dag), { dag_run_id: id, logical_date: null, note, conf: { ...conf, plan_only: false } });
  } catch (error) {
    if (error.status !== 409) throw error; // it was started before: show it
  }
  return `../../dags/${encodeURIComponent(dag)}/runs/${encodeURIComponent(id)}`;
}

async function submitted(form, act) {
  const button = form.querySelector("button");
  const said = form.querySelector(".said");
  button.disabled = true;
  said.className = "said";
  said.textContent = "Airflow is asked ...";
  try {
    const address = await act(form);
    said.textContent = "Airflow has started it.";
    if (address.startsWith("plan?")) return location.assign(address);
    const link = Object.assign(document.createElement("a"), { href: address, className: "out", textContent: "The run in Airflow" });
    said.append(" ", link);
    document.dispatchEvent(new Event("renewed"));
    return undefined; // the button stays off: one plan, one run
  } catch (error) {
    said.className = "said bad";
    said.textContent = error instanceof AirflowError ? error.message : `The page failed: ${error}`;
    button.disabled = false;
    return undefined;
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.dag && !form.dataset.starts) return;
  event.preventDefault();
  submitted(form, form.dataset.dag ? plan : start);
});

/** Make the forms ready, and fill in the params of the run, once they are known: Airflow decides who may read them. */
async function tell() {
  for (const button of document.querySelectorAll("form.params button")) button.disabled = false; // off without a script
  const place = document.querySelector("[data-conf-of]");
  if (!place) return;
  const path = runs(place.dataset.confOf, place.dataset.run);
  try {
    if (!shown.has(path)) shown.set(path, JSON.stringify((await get(path)).conf ?? {}, null, 2));
    place.textContent = shown.get(path);
  } catch (error) {
    place.textContent = error.message;
  }
}

document.addEventListener("renewed", tell);
tell();
