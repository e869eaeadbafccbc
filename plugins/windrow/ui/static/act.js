/* Start an action: Airflow's own API makes a run of a DAG, with the session of the user, and so checks and records it. */

import { get, post } from "./airflow-api.js";
import { airflow, opensOutside } from "./around.js";

const LOOK_MS = 2_000;
const LOOKS = 900;
const CLEARED = { replay: /^Land/, accept_gap: /^(Prove|Acknowledge)/, undo_gap: /^(Prove|Acknowledge)/ };
const form = document.getElementById("act");
const given = JSON.parse(form.dataset.given);
const button = form.querySelector("button");

function say(text) {
  document.getElementById("outcome").textContent = text;
}

function link(dag, run) {
  const found = document.createElement("a");
  found.href = airflow(`dags/${encodeURIComponent(dag)}/runs/${encodeURIComponent(run)}`);
  found.textContent = `Airflow: run of ${dag}`;
  opensOutside(found);
  document.getElementById("links").append(found, " ");
}

function runs(dag, run) {
  return `dags/${encodeURIComponent(dag)}/dagRuns${run ? `/${encodeURIComponent(run)}` : ""}`;
}

/** Wait until a run has ended, and return its state; empty if it goes on. */
async function ended(dag, run) {
  for (let look = 0; look < LOOKS; look += 1) {
    const { state } = await get(runs(dag, run));
    if (["success", "failed"].includes(state)) return state;
    say(`Started. Its state is ${state}. You may leave this page${given.action in CLEARED ? ", but then clear the tasks yourself" : ""}.`);
    await new Promise((done) => { setTimeout(done, LOOK_MS); });
  }
  return "";
}

/** Clear the tasks of the harvest's run that carry the result into the tables and the receipt. */
async function carry(dag) {
  const { tasks } = await get(`dags/${encodeURIComponent(dag)}/tasks`);
  const of = tasks.filter((one) => CLEARED[given.action].test(one.class_ref?.class_name ?? "")).map((one) => one.task_id);
  const clear = { dry_run: false, dag_run_id: given.run, reset_dag_runs: true };
  const path = `dags/${encodeURIComponent(dag)}/clearTaskInstances`;
  if (given.action !== "undo_gap") await post(path, { ...clear, only_failed: true });
  if (of.length) await post(path, { ...clear, only_failed: false, include_downstream: true, task_ids: of });
}

async function act() {
  const conf = { ...given };
  for (const field of form.elements) {
    if (field.type === "checkbox") conf[field.name] = field.checked;
    else if (field.type === "number") conf[field.name] = Number(field.value);
    else if (field.name && field.value) conf[field.name] = field.value;
  }
  const { dag_run_id: run } = await post(runs(form.dataset.dag), { logical_date: null, conf });
  link(form.dataset.dag, run);
  const state = await ended(form.dataset.dag, run);
  if (state === "failed") throw new Error("The action failed. Its log says why, and what to do.");
  if (!state) return say("It goes on. Follow it in Airflow.");
  if (form.dataset.then) return location.assign(form.dataset.then);
  if (!(given.action in CLEARED) || !form.dataset.of) return say("Done.");
  say("Done. Airflow clears tasks of the harvest's run.");
  await carry(form.dataset.of);
  link(form.dataset.of, given.run);
  return say("Done. The tasks of the harvest's run are cleared: they write the tables and the receipt again.");
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  document.documentElement.dataset.busy = "yes";
  say("Asking Airflow ...");
  try {
    await act();
  } catch (error) {
    say(error.message);
    button.disabled = false;
  }
});
form.addEventListener("input", (event) => {
  const { calls } = event.target.dataset;
  if (calls && Number(event.target.value) > 0) {
    document.getElementById("seconds").textContent = Math.round(calls / event.target.value).toLocaleString("en");
  }
});
button.disabled = false;
