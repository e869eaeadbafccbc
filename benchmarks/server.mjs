// The server of the engine benchmark: answers each call after a fixed delay, as a distant API would.
//
//   node server.mjs [--port 0] [--delay 20]
//
// Prints its port as the first line of stdout. It is not Python, so it shares no event loop, no interpreter
// lock and no HTTP parser with the clients it measures.
//
//   GET  /get_user_by_name?name=...   a small passenger, after `delay` milliseconds
//   GET  /names?page=0&of=10000       up to 100 names of so many, at once; past the last an empty list
//   POST /oauth/token                 a bearer token, at once; calls are served with or without it
//   GET  /_admin/counters             what it was asked; POST /_admin/reset zeroes that

import { createServer } from "node:http";
import { parseArgs } from "node:util";

const USAGE = "usage: node server.mjs [--port 0..65535] [--delay milliseconds]";
const BAD_INPUT = 2;
const PORT_IN_USE = 98; // the number of EADDRINUSE on Linux
const IDLE_MS = 60_000; // outlives a pause of a client, which would else meet a connection being closed

function complain(message, code) {
  process.stderr.write(`${message}\n`);
  process.exit(code);
}

function whole(text, limit) {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number > limit) complain(`${text} is out of range\n${USAGE}`, BAD_INPUT);
  return number;
}

function options() {
  try {
    const { values } = parseArgs({
      options: { port: { type: "string", default: "0" }, delay: { type: "string", default: "20" } },
    });
    return { port: whole(values.port, 65_535), delay: whole(values.delay, 60_000) };
  } catch (error) {
    return complain(`${error.message}\n${USAGE}`, BAD_INPUT);
  }
}

const { port, delay } = options();
const asked = new Map(); // name -> times
let requests = 0;
let inFlight = 0;
let maxInFlight = 0;
let tokens = 0;

function send(response, status, payload) {
  const body = JSON.stringify(payload);
  response.writeHead(status, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) });
  response.end(body);
}

function passenger(response, name) {
  requests += 1;
  inFlight += 1;
  maxInFlight = Math.max(maxInFlight, inFlight);
  asked.set(name, (asked.get(name) ?? 0) + 1);
  const due = setTimeout(
    () =>
      send(response, 200, {
        PassengerId: requests, Survived: 1, Pclass: 3, Name: name, Sex: "female", Age: 26,
        SibSp: 0, Parch: 0, Ticket: "310128", Fare: 7.925, Cabin: null, Embarked: "S",
      }),
    delay,
  );
  response.once("close", () => { // answered, or given up by the client
    clearTimeout(due);
    inFlight -= 1;
  });
}

function token(response) {
  tokens += 1;
  send(response, 200, { access_token: `benchmark-${tokens}`, token_type: "Bearer", expires_in: 3600 });
}

function names(response, page, of) {
  const first = Math.min(page * 100, of);
  send(response, 200, Array.from({ length: Math.min(100, of - first) }, (_, place) =>
    `O'Dwyer, Mrs. ${String(first + place).padStart(6, "0")} (Ellen "Nellie")`));
}

function counters(response) {
  send(response, 200, { requests, unique: asked.size, repeated: requests - asked.size, in_flight: inFlight,
    max_in_flight: maxInFlight, tokens_issued: tokens });
}

function reset(response) {
  asked.clear();
  requests = tokens = 0;
  maxInFlight = inFlight;
  counters(response);
}

function route(request, response) {
  const url = new URL(request.url, "http://localhost");
  const name = url.searchParams.get("name");
  request.resume(); // a body that nobody reads would hold the connection
  switch (`${request.method} ${url.pathname}`) {
    case "GET /get_user_by_name":
      return name ? passenger(response, name) : send(response, 400, { error: "the parameter name is missing" });
    case "GET /names":
      return names(response, Number(url.searchParams.get("page")), Number(url.searchParams.get("of")));
    case "POST /oauth/token":
      return token(response);
    case "GET /_admin/counters":
      return counters(response);
    case "POST /_admin/reset":
      return reset(response);
    default:
      return send(response, 404, { error: `there is no ${request.method} ${url.pathname}` });
  }
}

const server = createServer({ keepAliveTimeout: IDLE_MS }, route);
server.on("error", (error) =>
  error.code === "EADDRINUSE"
    ? complain(`port ${port} is in use: choose another with --port`, PORT_IN_USE)
    : complain(`cannot listen on port ${port}: ${error.message}`, BAD_INPUT),
);
server.listen({ port, host: "127.0.0.1", backlog: 1024 }, () => process.stdout.write(`${server.address().port}\n`));

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, () => {
    server.close(() => process.exit(0));
    server.closeAllConnections();
  });
}
