"""The rules of the stream, kept in step with the settings: those that are not ours are deleted."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from windrow.http.client import Client
from windrow.model.answer import Answer
from windrow.model.errors import Misconfigured
from windrow.model.query import Query
from windrow.sources.x.streams import RULES_PATH

log = logging.getLogger(__name__)


async def keep_in_step(client: Client, wanted: Mapping[str, str]) -> bool:
    """Let the stream have exactly these rules, given by their tags; say whether one was missing.

    A tag cannot be edited: the rule is made anew.

    :raises Misconfigured: X refuses a rule, or the call.
    :raises WindrowError: what `Client.ask` raises.
    """
    found = _mappings((await _ask(client, Query.of(RULES_PATH))).get("data"))
    there = {(str(rule.get("tag", "")), str(rule["value"])) for rule in found}
    surplus = [
        str(rule["id"]) for rule in found if (str(rule.get("tag", "")), str(rule["value"])) not in wanted.items()
    ]
    missing = [{"value": value, "tag": tag} for tag, value in wanted.items() if (tag, value) not in there]
    # The new ones first: the stream is never without a rule.
    if missing:
        _check(await _ask(client, _post({"add": missing})))
    if surplus:
        await _ask(client, _post({"delete": {"ids": surplus}}))
    if missing or surplus:
        log.info("rules of the stream: %d added, %d deleted", len(missing), len(surplus))
    return bool(missing)


def _post(body: Mapping[str, Any]) -> Query:
    return Query.of(RULES_PATH, body=orjson.dumps(body).decode(), known_by={"body": orjson.dumps(body).decode()})


async def _ask(client: Client, query: Query) -> Mapping[str, Any]:
    answer = await client.ask(query, lambda _query, _parsed: None)
    parsed = answer.parsed if isinstance(answer, Answer) else None
    if not isinstance(parsed, Mapping):
        raise Misconfigured(
            f"X does not take the rules of the stream: {getattr(answer, 'reason', 'no such path')}",
            advice="Mend X_RULES, X_BEARER_TOKEN or the account, as it says.",
        )
    return parsed


def _check(told: Mapping[str, Any]) -> None:
    """Return if all rules were taken. One that is there already is told as an error in a good answer."""
    bad = [error for error in _mappings(told.get("errors")) if error.get("title") != "DuplicateRule"]
    if bad:
        reasons = "; ".join(f"{error.get('value')!r}: {error.get('details') or error.get('title')}" for error in bad)
        raise Misconfigured(f"X refuses rules of the stream: {reasons}", advice="Mend X_RULES.")


def _mappings(value: object) -> Sequence[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
