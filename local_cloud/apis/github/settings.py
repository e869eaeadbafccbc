"""What can be set on the fake GitHub while it runs: its limits, its clock, and what it does not like."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

SHAPES = ("retry_after", "abuse", "message_only")
ODDITIES = ("null", "no_id", "computing")


class BadSetting(ValueError):
    """A setting that does not exist, or a value it cannot take; the message names both."""


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_hour(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_odd(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value.values()) <= set(ODDITIES)


def _setting(default: Any, accepts: Callable[[Any], bool], expected: str) -> Any:
    """Declare a setting: its value in the real thing, and what it accepts, as a check and in words."""
    return field(default_factory=lambda: default, metadata={"accepts": accepts, "expected": expected})


def _number(default: int) -> Any:
    return _setting(default, _is_whole, "a whole number, 0 or more")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One setting of everything; without arguments as the real GitHub, for an account that pays nothing."""

    hour_s: float = _setting(3_600.0, _is_hour, "a number of seconds above 0")
    """Real seconds that stand for an hour: of a window, of an installation token; a minute is a 60th of it."""

    limit: int = _number(5_000)
    """REST calls an owner has in a window. Holds for windows that open later."""
    graphql_limit: int = _number(5_000)
    anonymous_limit: int = _number(60)
    """REST calls in a window without a token."""
    refusal_status: int = _setting(403, lambda value: value in {403, 429}, "403 or 429")
    """Status of a primary refusal."""

    secondary: bool = _setting(True, _is_flag, "true or false")
    """Whether the secondary limits hold."""
    concurrency: int = _number(100)
    """Calls of an owner in flight at once, REST and GraphQL together."""
    points_per_minute: int = _number(900)
    """Points of an owner at one route; a GET has one, a POST five."""
    graphql_points_per_minute: int = _number(2_000)
    secondary_shape: str = _setting("retry_after", lambda value: value in SHAPES, "one of " + ", ".join(SHAPES))
    """How a secondary refusal looks: `abuse` is the old wording, recorded without any x-ratelimit header;
    `message_only` has no Retry-After either."""

    odd: Mapping[str, str] = _setting({}, _is_odd, "an object of lists, each with one of " + ", ".join(ODDITIES))
    """What is odd on each page of a list like ``acme/windmill/forks``: a row that is null, a row whose account has no
    id, or no list at all, but 202 with {} as GitHub answers while it computes something."""
    page_cap: int = _number(400)
    """Pages of a list that are served; deeper ones get 422."""
    bad_tokens: Sequence[str] = _setting((), _is_texts, "a list of tokens")
    """Tokens that were good once, and get 401 from now on."""

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """Give these settings with `changes` made; raises BadSetting and changes nothing."""
        known = {each.name: each.metadata for each in dataclasses.fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise BadSetting(f"there is no setting {name!r}; the settings are {', '.join(known)}")
            if not known[name]["accepts"](value):
                raise BadSetting(f"{name} must be {known[name]['expected']}, not {value!r}")
        return dataclasses.replace(self, **changes)


class Dial:
    """The settings in force; the admin routes turn it while calls are served."""

    def __init__(self) -> None:
        self.current = Settings()

    def change(self, changes: Mapping[str, Any]) -> None:
        """Make `changes`, all or none; raises BadSetting."""
        self.current = self.current.changed(changes)

    def reset(self) -> None:
        """Be as the real thing again."""
        self.current = Settings()
