"""The Cloud Function, over HTTP: what it answers, what it asks the API, what it leaves in MongoDB, what it logs."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from local_cloud import ports
from local_cloud.apis.testing import FakeApi
from tests.functions.harness import AUDIENCE, Function, Issuer, ask_for, serving
from windrow.model.answer import Outcome
from windrow.model.plan import Chunk, Run
from windrow.model.queue_task import Call
from windrow.store.staging import Staging


def asked(api: FakeApi) -> int:
    """Return how many calls the API took; the fixture has ended the last test's token, which is found by a 401."""
    totals = api.counters()["totals"]
    return int(totals["requests"] - totals["refused_401"])


def settled(staging: Staging, call: Call) -> dict[str, Outcome]:
    return staging.settled(call.run, call.chunk)


# --- what the API says --------------------------------------------------------------------------


def test_an_answer_is_staged_word_for_word(function: Function, api: FakeApi, staging: Staging, call: Call) -> None:
    reply = function.deliver(call)

    (answer,) = staging.answers(Chunk(call.run, call.chunk, (call.query,)))
    assert (reply.status, reply.outcome) == (200, "answered")
    assert json.loads(answer.body)["Name"] == dict(call.query.params)["name"]
    assert (answer.outcome, answer.status) == (Outcome.ANSWERED, 200)
    assert asked(api) == 1


def test_a_task_that_is_delivered_twice_is_asked_once(function: Function, api: FakeApi, call: Call) -> None:
    replies = [function.deliver(call), function.deliver(call, retry=1)]

    assert [reply.outcome for reply in replies] == ["answered", "already settled"]
    assert [reply.status for reply in replies] == [200, 200]
    assert asked(api) == 1


def test_many_tasks_at_once_share_one_token(
    function: Function, api: FakeApi, staging: Staging, run: Run, names: list[str]
) -> None:
    api.faults(latency_ms=30)
    calls = [ask_for(run, name) for name in names[:200]]
    function.deliver(ask_for(run, "Nobody"))  # the last test's token is dead: this one gets another
    api.reset()

    with ThreadPoolExecutor(16) as threads:
        statuses = list(threads.map(lambda call: function.deliver(call).status, calls))

    counters = api.counters()
    assert statuses == [200] * 200
    assert set(settled(staging, calls[0])) >= {call.query.key for call in calls}
    assert counters["totals"]["requests"] == 200
    assert counters["totals"]["max_in_flight"] > 4
    assert counters["tokens_issued"] == 0


def test_what_the_api_does_not_know_is_a_gap_and_not_asked_again(
    function: Function, api: FakeApi, staging: Staging, run: Run
) -> None:
    call = ask_for(run, "Nobody")

    replies = [function.deliver(call), function.deliver(call)]

    assert [(reply.status, reply.outcome) for reply in replies] == [(200, "gap"), (200, "already settled")]
    assert settled(staging, call) == {call.query.key: Outcome.MISSING}
    assert asked(api) == 1


def test_trouble_of_the_api_is_passed_on_after_one_attempt(
    function: Function, api: FakeApi, staging: Staging, call: Call
) -> None:
    api.faults(error_share=1, error_status=503)

    reply = function.deliver(call)

    assert (reply.status, reply.outcome) == (503, "no answer")
    assert asked(api) == 1
    assert settled(staging, call) == {}
    api.heal()
    assert function.deliver(call, retry=1).status == 200


def test_a_connection_that_breaks_is_trouble_too(function: Function, api: FakeApi, call: Call) -> None:
    api.faults(sticky={dict(call.query.params)["name"]: "cut"})

    reply = function.deliver(call)

    assert (reply.status, reply.outcome) == (503, "no answer")
    assert asked(api) == 1


@pytest.mark.parametrize(("wish", "header"), [(7, "7"), (0.4, "1"), ("http-date:30", "30"), (None, None)])
def test_a_rate_limit_is_passed_on_with_its_pause(
    function: Function, api: FakeApi, call: Call, wish: float | str | None, header: str | None
) -> None:
    api.faults(throttle_share=1, retry_after=wish)

    reply = function.deliver(call)

    assert (reply.status, reply.outcome) == (429, "rate limited")
    given = reply.headers.get("Retry-After")
    # a date has whole seconds, and some milliseconds have passed
    assert given == header or (isinstance(wish, str) and given in {"29", "31"})
    assert asked(api) == 1


def test_an_answer_that_stays_unreadable_goes_into_the_quarantine_at_the_third_delivery(
    function: Function, api: FakeApi, staging: Staging, call: Call
) -> None:
    api.faults(sticky={dict(call.query.params)["name"]: "malformed"})

    replies = [function.deliver(call, retry=retry) for retry in range(2)]
    before = staging.quarantined(call.run)
    replies.append(function.deliver(call, retry=2))

    ((chunk, rejected),) = staging.quarantined(call.run)
    assert [(reply.status, reply.outcome) for reply in replies] == [
        (503, "unreadable"),
        (503, "unreadable"),
        (200, "quarantined"),
    ]
    assert before == []
    assert (chunk, rejected.query, rejected.status) == (call.chunk, call.query, 200)
    assert "invalid JSON" in rejected.reason
    assert asked(api) == 3
    assert function.lines()[-1]["severity"] == "ERROR"


def test_an_answer_that_breaks_the_contract_is_unreadable(
    function: Function, api: FakeApi, run: Run, names: list[str]
) -> None:
    api.faults(missing_field_share=1)  # of any field, and some are optional

    replies = [function.deliver(ask_for(run, name)) for name in names[:12]]

    unreadable = [json.loads(reply.text) for reply in replies if reply.status == 503]
    assert unreadable
    assert all(re.fullmatch("field '.*' is missing", reply["reason"]) for reply in unreadable)


def test_nobody_comes_again_for_a_delivery_without_a_count(
    function: Function, api: FakeApi, staging: Staging, call: Call
) -> None:
    api.faults(sticky={dict(call.query.params)["name"]: "malformed"})

    reply = function.deliver(call, retry=None)

    assert (reply.status, reply.outcome) == (200, "quarantined")
    assert len(staging.quarantined(call.run)) == 1


def test_what_the_api_refuses_goes_into_the_quarantine_at_once(
    function: Function, api: FakeApi, staging: Staging, call: Call
) -> None:
    api.faults(sticky={dict(call.query.params)["name"]: 400})

    reply = function.deliver(call)

    ((_, rejected),) = staging.quarantined(call.run)
    assert (reply.status, reply.outcome) == (200, "quarantined")
    assert rejected.status == 400
    assert asked(api) == 1


def test_a_dead_token_is_replaced_within_the_delivery(function: Function, api: FakeApi, call: Call) -> None:
    function.deliver(ask_for(call.run, "Nobody"))
    api.revoke_tokens()
    api.reset()

    reply = function.deliver(call)

    assert reply.status == 200
    counters = api.counters()
    assert (counters["totals"]["refused_401"], counters["tokens_issued"]) == (1, 1)


def test_an_api_that_refuses_new_tokens_is_asked_twice(function: Function, api: FakeApi, call: Call) -> None:
    function.deliver(ask_for(call.run, "Nobody"))
    api.reset()
    api.faults(unauthorized_share=1)

    reply = function.deliver(call)

    assert (reply.status, reply.outcome) == (500, "credentials rejected")
    assert api.counters()["totals"]["requests"] == 2
    assert function.lines()[-1]["severity"] == "ERROR"


def test_a_line_is_logged_for_each_call(function: Function, api: FakeApi, call: Call) -> None:
    function.deliver(call, retry=4)

    line = function.lines()[-1]
    assert line.pop("ms") > 0
    assert datetime.fromisoformat(line.pop("time")) <= datetime.now(UTC)
    assert line == {
        "severity": "INFO",
        "logger": "fetch_passenger",
        "message": f"answered: {call.query.key}",
        "outcome": "answered",
        "status": 200,
        "stream": call.run.dataset,
        "run": call.run.run_id,
        "key": call.query.key,
        "retry": "4",
    }


# --- tasks that can never be done ---------------------------------------------------------------

KEY = "get_user_by_name?name=x"
QUERY = [KEY, "/get_user_by_name", [["name", "x"]], 1]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dataset": "titanic_ships"}, "titanic_ships"),
        ({"chunk": -1}, "chunk"),
        ({"chunk": "0"}, "wrong type"),
        ({"chunk": None}, "wrong type"),
        ({"query": [KEY]}, "values to unpack"),
        ({"query": [KEY, "http://127.0.0.1:1/x", [], 1]}, "must be below the API"),
        ({"query": [KEY, "/http://127.0.0.1:1/x", [], 1]}, "must be below the API"),
        ({"query": [KEY, "/x", [["name", 7]], 1]}, "parameters"),
    ],
)
def test_a_broken_task_is_recorded_with_its_reason_and_done(
    function: Function, api: FakeApi, staging: Staging, run: Run, changes: dict[str, object], reason: str
) -> None:
    payload = {"dataset": run.dataset, "run_id": run.run_id, "chunk": 0, "query": QUERY} | changes

    reply = function.post(json.dumps(payload).encode(), token=function.issuer.token())

    ((_, rejected),) = staging.quarantined(Run(str(payload["dataset"]), run.run_id))
    assert (reply.status, reply.outcome) == (200, "quarantined")
    assert reason in rejected.reason
    assert (rejected.query.key, json.loads(rejected.body)) == (KEY, payload)
    line = function.lines()[-1]
    assert (line["severity"], line["key"], line["run"]) == ("ERROR", KEY, run.run_id)
    assert asked(api) == 0


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"[]", b"null", b"{}", b'{"dataset": "titanic_passengers", "run_id": "r", "query": []}'],
)
def test_a_task_that_names_no_query_is_logged_and_done(function: Function, api: FakeApi, body: bytes) -> None:
    reply = function.post(body, token=function.issuer.token())

    assert (reply.status, reply.outcome) == (200, "broken task")
    line = function.lines()[-1]
    assert line["severity"] == "ERROR"
    assert body.decode("utf-8", "backslashreplace")[:40] in line["reason"].replace("\\\\", "\\")
    assert asked(api) == 0


# --- callers ------------------------------------------------------------------------------------


def header(kind: str, issuer: Issuer) -> dict[str, str]:
    """Return the headers of a caller that is not the queue."""
    now = int(time.time())
    good = issuer.token()
    unsigned = good.rpartition(".")[0]
    others = issuer.token(email="eve@example.com")
    return {
        "no token": {},
        "other scheme": {"Authorization": f"Basic {good}"},
        "garbage": {"Authorization": "Bearer not-a-token-at-all"},
        "other audience": bearer(issuer.token(aud="https://elsewhere.example.com")),
        "no audience": bearer(issuer.token(aud=None)),
        "expired": bearer(issuer.token(iat=now - 7200, exp=now - 3600)),
        "other signature": bearer(Issuer().token()),
        "other claims": bearer(f"{unsigned}.{others.rpartition('.')[2]}"),
        "signature removed": bearer(f"{unsigned}.SIGNATURE_REMOVED_BY_GOOGLE"),
        "other account": bearer(others),
        "no account": bearer(issuer.token(email=None)),
        "unverified account": bearer(issuer.token(email_verified=None)),
        "other issuer": bearer(issuer.token(iss="https://issuer.example.com")),
    }[kind]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("kind", "status", "reason"),
    [
        ("no token", 401, "no bearer token"),
        ("other scheme", 401, "no bearer token"),
        ("garbage", 401, "the token is invalid"),
        ("other audience", 401, AUDIENCE),
        ("no audience", 401, AUDIENCE),
        ("expired", 401, "expired"),
        ("other signature", 401, "not signed"),
        ("other claims", 401, "not signed"),
        ("signature removed", 401, "--allow-unauthenticated"),
        ("other account", 403, "eve@example.com"),
        ("no account", 403, "None"),
        ("unverified account", 403, "may call"),
        ("other issuer", 403, "not Google"),
    ],
)
def test_nobody_but_the_queue_gets_anything_done(
    function: Function, api: FakeApi, staging: Staging, call: Call, kind: str, status: int, reason: str
) -> None:
    reply = function.request("POST", call.payload, header(kind, function.issuer))

    assert reply.status == status
    assert json.loads(reply.text) == {"outcome": "caller refused"}
    line = function.lines()[-1]
    assert (line["severity"], line["status"]) == ("WARNING", status)
    assert reason in line["reason"]
    assert asked(api) == 0
    assert settled(staging, call) == {}
    assert staging.quarantined(call.run) == []


def test_only_posts_are_taken(function: Function, api: FakeApi, call: Call) -> None:
    headers = bearer(function.issuer.token())

    replies = [function.request(method, call.payload, headers) for method in ("GET", "PUT", "DELETE")]

    assert [reply.status for reply in replies] == [405] * 3
    assert replies[0].headers["Allow"] == "POST"
    assert asked(api) == 0


# --- trouble of its own -------------------------------------------------------------------------


def test_wrong_credentials_are_told_and_tried_again(
    unpacked: Path, issuer: Issuer, settings: dict[str, str], api: FakeApi, call: Call
) -> None:
    wrong = settings | {"API_CLIENT_SECRET": "wrong-secret-of-the-test"}
    with serving(unpacked, issuer, wrong) as function:
        reply = function.deliver(call)

        line = function.lines()[-1]
        said = function.log.read_text() + "".join(function.replies)

    assert (reply.status, reply.outcome) == (500, "credentials rejected")
    assert line["severity"] == "ERROR"
    assert "rejected the credentials" in line["reason"]
    assert asked(api) == 0
    assert "wrong-secret-of-the-test" not in said


def test_without_certificates_or_mongodb_nothing_is_asked(
    unpacked: Path, issuer: Issuer, settings: dict[str, str], api: FakeApi, call: Call
) -> None:
    (closed,) = ports.find_free(1)
    away = settings | {"MONGO_URL": f"mongodb://windrow:password-of-the-test@127.0.0.1:{closed}/?authSource=admin"}
    with serving(unpacked, issuer, away) as function:
        issuer.works = False
        try:
            without_certificates = function.deliver(call)
        finally:
            issuer.works = True
        began = time.monotonic()
        without_mongodb = function.deliver(call)
        took_s = time.monotonic() - began
        severities = [line["severity"] for line in function.lines()[-2:]]
        said = function.log.read_text() + "".join(function.replies)

    assert (without_certificates.status, without_certificates.outcome) == (503, "caller unknown")
    assert (without_mongodb.status, without_mongodb.outcome) == (503, "mongodb unavailable")
    assert severities == ["ERROR", "ERROR"]
    assert took_s < 10
    assert asked(api) == 0
    assert "password-of-the-test" not in said


def test_a_deployment_without_settings_fails_with_their_names(
    unpacked: Path, issuer: Issuer, settings: dict[str, str]
) -> None:
    lacking = {name: value for name, value in settings.items() if name not in {"MONGO_URL", "API_TOKEN_PATH"}}

    with pytest.raises(AssertionError, match=r"Missing environment variables: MONGO_URL, API_TOKEN_PATH\."):
        serving(unpacked, issuer, lacking).__enter__()


# --- at last, over all that the function said ---------------------------------------------------


def test_a_new_key_of_the_issuer_is_learned(function: Function, issuer: Issuer, run: Run) -> None:
    fetches = issuer.fetches
    issuer.rotate()

    deadline = time.monotonic() + 20  # it does not ask again within 10 s
    while function.deliver(ask_for(run, "Nobody")).status == 401 and time.monotonic() < deadline:
        time.sleep(0.2)

    assert function.deliver(ask_for(run, "Nobody")).status == 200
    assert issuer.fetches == fetches + 1


def test_no_secret_was_ever_said(function: Function, issuer: Issuer, api: FakeApi) -> None:
    said = function.log.read_text(encoding="utf-8") + "".join(function.replies)

    assert len(issuer.issued) > 50
    assert not [token for token in issuer.issued if token in said or token.rpartition(".")[2] in said]
    assert not [token for token in issuer.issued if token.split(".")[1] in said]
    assert api.client.client_secret not in said
    assert "not-a-token-at-all" not in said
    assert "Traceback" not in said
