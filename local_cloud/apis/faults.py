"""The fault switches of the fake APIs: what can go wrong, how often, and to which call.

A share is a number from 0 (never) to 1 (always). Shares are drawn independently of each other, and the
draw of a call depends only on the seed, the route, the key asked and how often that key was asked before:
the same run has the same faults however its calls interleave.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, Self

STICKY_WORDS = ("malformed", "missing_field", "cut")


class BadFault(ValueError):
    """A fault that does not exist, or a value it cannot take; the message names both."""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_duration(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_lifetime(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_rate(value: Any) -> bool:
    return value is None or _is_lifetime(value)


def _is_server_error(value: Any) -> bool:
    return _is_whole(value) and 500 <= value <= 599


def _is_retry_after(value: Any) -> bool:
    if isinstance(value, str):
        kind, _, seconds = value.partition(":")
        return kind == "http-date" and seconds.isdecimal()
    return value is None or _is_duration(value)


def _is_sticky(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        fault in STICKY_WORDS if isinstance(fault, str) else _is_whole(fault) and 400 <= fault <= 599
        for fault in value.values()
    )


def _fault(default: Any, accepts: Callable[[Any], bool], expected: str) -> Any:
    """Declare a fault: its value when all is well, and what it accepts, as a check and in words."""
    return field(default=default, metadata={"accepts": accepts, "expected": expected})


def _share() -> Any:
    return _fault(0.0, _is_share, "a number from 0 to 1")


def _flag() -> Any:
    return _fault(False, _is_flag, "true or false")


def _milliseconds() -> Any:
    return _fault(0.0, _is_duration, "a number of milliseconds, 0 or more")


@dataclass(frozen=True, kw_only=True)
class Faults:
    """One setting of all switches; without arguments nothing goes wrong.

    Shares and latency touch API calls, never admin routes; the token endpoint has switches of its own.
    """

    seed: int = _fault(0, _is_whole, "a whole number")
    latency_ms: float = _milliseconds()
    requests_per_second: float | None = _fault(None, _is_rate, "null or a number above 0")
    """Calls an API takes, with a burst of one second's worth; more get 429 with Retry-After."""

    cut_share: float = _share()
    """Connections closed: half after the request and before any answer, half in the middle of a body."""
    throttle_share: float = _share()
    retry_after: float | str | None = _fault(
        None, _is_retry_after, 'null, a number of seconds, or "http-date:N" with whole seconds N'
    )
    """Retry-After of a drawn 429. A fraction of a second is no valid HTTP, and makes tests quick."""
    error_share: float = _share()
    error_status: int = _fault(500, _is_server_error, "a status from 500 to 599")
    unauthorized_share: float = _share()
    malformed_share: float = _share()
    """Answers with status 200 whose body is cut short, or no JSON at all."""
    missing_field_share: float = _share()
    unknown_fields: bool = _flag()
    duplicate_list: bool = _flag()
    empty_list: bool = _flag()
    sticky: Mapping[str, int | str] = dataclasses.field(
        default_factory=dict,
        metadata={
            "accepts": _is_sticky,
            "expected": "an object of names, each with a status from 400 to 599 or one of " + ", ".join(STICKY_WORDS),
        },
    )
    """Names that always get the same fault."""

    token_lifetime_s: float = _fault(3600.0, _is_lifetime, "a number of seconds above 0")
    single_token: bool = _flag()
    """A new token ends all earlier ones."""
    token_error_share: float = _share()
    token_latency_ms: float = _milliseconds()

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """Give these switches with `changes` made; raises BadFault and changes nothing."""
        known = {each.name: each.metadata for each in dataclasses.fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise BadFault(f"there is no fault {name!r}; the faults are {', '.join(known)}")
            if not known[name]["accepts"](value):
                raise BadFault(f"{name} must be {known[name]['expected']}, not {value!r}")
        return dataclasses.replace(self, **changes)

    def of_token_endpoint(self) -> Self:
        """Give the switches as the token endpoint has them: only its own errors and latency."""
        return type(self)(
            seed=self.seed,
            latency_ms=self.token_latency_ms,
            error_share=self.token_error_share,
            error_status=self.error_status,
        )

    def as_json(self) -> dict[str, Any]:
        """Give every switch and its value."""
        return dataclasses.asdict(self)


def parse_changes(text: str) -> dict[str, Any]:
    """Read changes of the fault switches; raises BadFault when it is no JSON object."""
    try:
        changes = json.loads(text)
    except ValueError as error:
        raise BadFault(f"the faults are not JSON: {error}") from None
    if not isinstance(changes, dict):
        raise BadFault("the faults must be a JSON object of switches and values")
    return changes


class FaultSwitch:
    """The switches in force; the admin routes change them while calls are served."""

    def __init__(self, faults: Faults) -> None:
        self.current = faults

    def change(self, changes: Mapping[str, Any]) -> None:
        """Make `changes`, all or none; raises BadFault."""
        self.current = self.current.changed(changes)

    def reset(self) -> None:
        """Let nothing go wrong any more, whatever the server was started with."""
        self.current = Faults()


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What happens to one call."""

    cut: Literal["before", "middle"] | None = None
    throttled: bool = False
    error: bool = False
    unauthorized: bool = False
    malformed: bool = False
    missing_field: bool = False
    sticky_status: int | None = None
    choice: float = 0.0
    """From 0 to below 1: picks among the ways a body can be broken."""


SPARED = Fate()


def fate(faults: Faults, route: str, key: str | None, nth: int) -> Fate:
    """Draw what happens to a call that asks `route` for `key` the `nth` time.

    Every share has its own draw, made in a fixed order, so turning one switch moves no other's draws.
    """
    if not (
        faults.cut_share
        or faults.throttle_share
        or faults.error_share
        or faults.unauthorized_share
        or faults.malformed_share
        or faults.missing_field_share
        or faults.sticky
    ):
        return SPARED  # seeding a generator costs more than the rest of an answer
    draw = Random(f"{faults.seed}|{route}|{key}|{nth}").random
    choice, cut, side = draw(), draw(), draw()
    stuck = faults.sticky.get(key) if key else None
    return Fate(
        choice=choice,
        cut=("before" if side < 0.5 else "middle") if cut < faults.cut_share or stuck == "cut" else None,
        throttled=draw() < faults.throttle_share,
        error=draw() < faults.error_share,
        unauthorized=draw() < faults.unauthorized_share,
        malformed=draw() < faults.malformed_share or stuck == "malformed",
        missing_field=draw() < faults.missing_field_share or stuck == "missing_field",
        sticky_status=stuck if isinstance(stuck, int) else None,
    )
