/* What Airflow knows of the DAG that fills a board: why no rows may come. */

import { airflow } from "./around.js";
import { clock } from "./words.js";

async function ask(path) {
  const answer = await fetch(airflow(`api/v2/${path}`), { signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) throw new Error(`${answer.status}`);
  return answer.json();
}

/** Say in a sentence or two how the DAG is; nothing when one may not see it. */
export async function dagSays(id) {
  try {
    const name = encodeURIComponent(id);
    const [dag, { dag_runs: [last] }] = await Promise.all([
      ask(`dags/${name}`), ask(`dags/${name}/dagRuns?limit=1&order_by=-run_after`),
    ]);
    const on = dag.is_paused ? `The DAG ${id} is paused: unpause it.` : `The DAG ${id} is not paused.`;
    if (!last) return `${on} It has not run yet.`;
    const when = clock(last.run_after, "day");
    if (last.state === "failed") return `${on} Its last run, ${when}, failed. See its log.`;
    if (last.state === "success") return `${on} Its last run, ${when}, succeeded.`;
    return `${on} A run has been ${last.state} since ${when}.`;
  } catch {
    return "";
  }
}
