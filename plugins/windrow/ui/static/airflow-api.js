/* Calls of Airflow's own API with the session of the person who looks: Airflow checks permissions, and records them. */

import { airflow } from "./around.js";

const LIMIT_MS = 30_000;
const LONGEST = 400; // characters of a reason
const REASONS = {
  401: "Airflow does not know you any longer. Log in again, then repeat.",
  403: "Airflow does not allow you to do this. Ask for the permission to trigger this DAG.",
  404: "Airflow does not have it. Reload the page.",
};

/** What went wrong with a call, for a person. `status` is the HTTP status; 0 if Airflow did not answer. */
export class AirflowError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Get from `api/v2/<path>`; return what Airflow answers, or throw an AirflowError. */
export function get(path) {
  return send("GET", path);
}

/** Post `body` as JSON to `api/v2/<path>`; return what Airflow answers, or throw an AirflowError. */
export function post(path, body) {
  return send("POST", path, body);
}

async function send(method, path, body) {
  let answer;
  try {
    answer = await fetch(airflow(`api/v2/${path}`), {
      method,
      headers: { Accept: "application/json", ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      signal: AbortSignal.timeout(LIMIT_MS),
    });
  } catch {
    const unsure = method === "GET" ? "Try again." : "It is not known whether it was done: look at the DAG's runs before you repeat it.";
    throw new AirflowError(`Airflow did not answer. ${unsure}`, 0);
  }
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  const reason = reasonOf(said.detail);
  const known = REASONS[answer.status] ?? `Airflow refused it with HTTP ${answer.status}.`;
  throw new AirflowError(reason && answer.status !== 401 ? `${known} It says: ${reason}` : known, answer.status);
}

/** Airflow gives a reason as a text, as a list of fields with messages, or as an object. */
function reasonOf(detail) {
  if (!detail) return "";
  if (typeof detail === "string") return detail.slice(0, LONGEST);
  if (Array.isArray(detail)) return detail.map((one) => `${(one.loc ?? []).slice(1).join(".")}: ${one.msg}`).join("; ").slice(0, LONGEST);
  return String(detail.message ?? detail.reason ?? JSON.stringify(detail)).slice(0, LONGEST);
}
