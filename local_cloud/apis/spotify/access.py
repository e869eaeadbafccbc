"""What a client id may ask, and how often: the switches behind `/_admin/spotify`."""

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from local_cloud.apis.faults import BadFault

BUCKETS = ("artists", "artist-albums", "top-tracks", "albums", "tracks", "audio-features", "search")
"""The quotas are of endpoints, not of the whole API."""
CLIENTS = ("extended", "legacy", "new")
"""Client ids with extended quota since before November 2024; of development before and after 2026-02-11."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """One setting of the switches."""

    client: str = "extended"
    premium: bool = True
    """Whether the owner of the client id pays; without, every call gets 403 in plain text."""
    quotas: Mapping[str, int] = field(default_factory=dict)
    """Calls that a bucket takes before it is closed for `retry_after_s`; buckets not named have no end."""
    retry_after_s: float = 86_000.0
    null_items: bool = False
    """Whether lists have nulls among their elements."""
    odd_albums: bool = False
    """Whether the albums of an artist begin with newer compilations and albums of others, and one without a date."""
    batches: bool = True
    """Whether several ids in one call are accepted, if the client id may use them."""

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """Give these switches with `changes` made. Raises BadFault and changes nothing."""
        known = {each.name for each in dataclasses.fields(self)}
        unknown = sorted(set(changes) - known)
        if unknown:
            raise BadFault(f"there is no switch {unknown[0]!r}; the switches are {', '.join(sorted(known))}")
        made = dataclasses.replace(self, **changes)
        quotas = made.quotas
        checks = {
            f"client must be one of {', '.join(CLIENTS)}": made.client in CLIENTS,
            "premium must be true or false": isinstance(made.premium, bool),
            "null_items, odd_albums and batches must be true or false": all(
                isinstance(switch, bool) for switch in (made.null_items, made.odd_albums, made.batches)
            ),
            "retry_after_s must be a number of seconds above 0": _is_number(made.retry_after_s)
            and made.retry_after_s > 0,
            f"quotas must be an object of calls by bucket, of {', '.join(BUCKETS)}": isinstance(quotas, Mapping)
            and all(bucket in BUCKETS and _is_number(calls) and calls >= 0 for bucket, calls in quotas.items()),
        }
        for text, holds in checks.items():
            if not holds:
                raise BadFault(text)
        return made


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class Gate:
    """The switches in force, and what is left of the quotas."""

    def __init__(self) -> None:
        self.access = Access()
        self._left: dict[str, int] = {}
        self._closed_until: dict[str, float] = {}

    def change(self, text: str) -> None:
        """Make changes, given as JSON; quotas begin anew. Raises BadFault."""
        try:
            changes = json.loads(text)
        except ValueError as error:
            raise BadFault(f"the switches are not JSON: {error}") from None
        if not isinstance(changes, dict):
            raise BadFault("the switches must be a JSON object")
        self.access = self.access.changed(changes)
        self._left = dict(self.access.quotas)
        self._closed_until = {}

    def reset(self) -> None:
        """Let everything be asked again."""
        self.access = Access()
        self._left = {}
        self._closed_until = {}

    def wait_s(self, bucket: str) -> float:
        """Take a call out of a bucket; give 0, or the seconds until it opens again."""
        now = time.monotonic()
        until = self._closed_until.get(bucket)
        if until is not None and now < until:
            return until - now
        if until is not None:
            del self._closed_until[bucket]
            self._left[bucket] = self.access.quotas[bucket]
        if bucket not in self._left:
            return 0.0
        if self._left[bucket] <= 0:
            self._closed_until[bucket] = now + self.access.retry_after_s
            return self.access.retry_after_s
        self._left[bucket] -= 1
        return 0.0
