"""Synchronize the rules of the stream with the settings: other rules are deleted."""

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
    """Set exactly these rules, by tag, on the stream; return whether a rule was missing.

    A rule cannot be edited: a changed one is created again.

    :raises Misconfigured: X rejects a rule, or the call.
    :raises WindrowError: see `Client.ask`.
    """
    found = _mappings((await _ask(client, Query.of(RULES_PATH))).get("data"))
    there = {(str(rule.get("tag", "")), str(rule["value"])) for rule in found}
    surplus = [
        str(rule["id"]) for rule in found if (str(rule.get("tag", "")), str(rule["value"])) not in wanted.items()
    ]
    missing = [{"value": value, "tag": tag} for tag, value in wanted.items() if (tag, value) not in there]
    # Add before delete, so that the stream always has a rule.
    if missing:
        _check(await _ask(client, _post({"add": missing})))
    if surplus:
        await _ask(client, _post({"delete": {"ids": surplus}}))
    if missing or surplus:
        log.info("Updated the rules of the stream: %d added, %d deleted", len(missing), len(surplus))
    return bool(missing)


def _post(body: Mapping[str, Any]) -> Query:
    return Query.of(RULES_PATH, body=orjson.dumps(body).decode(), known_by={"body": orjson.dumps(body).decode()})


async def _ask(client: Client, query: Query) -> Mapping[str, Any]:
    answer = await client.ask(query, lambda _query, _parsed: None)
    parsed = answer.parsed if isinstance(answer, Answer) else None
    if not isinstance(parsed, Mapping):
        raise Misconfigured(
            f"X rejected the call for the rules of the stream: {getattr(answer, 'reason', 'the path does not exist')}",
            advice="Fix X_RULES, X_BEARER_TOKEN or the account, as the answer of X says.",
        )
    return parsed


def _check(told: Mapping[str, Any]) -> None:
    """Raise if X rejected a rule. X also reports an error for a rule that already exists; that one is ignored."""
    bad = [error for error in _mappings(told.get("errors")) if error.get("title") != "DuplicateRule"]
    if bad:
        reasons = "; ".join(f"{error.get('value')!r}: {error.get('details') or error.get('title')}" for error in bad)
        raise Misconfigured(f"X rejected rules of the stream: {reasons}", advice="Fix X_RULES.")


def _mappings(value: object) -> Sequence[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
