"""The query parameters of one call, read as Google reads them: what is unknown or wrong is refused with 400."""

import re
from collections.abc import Collection
from datetime import date

from multidict import MultiMapping

from local_cloud.apis.youtube.errors import Refusal, invalid

STANDARD = {"alt", "key", "prettyPrint", "quotaUser"}
"""Taken by every Google API, and without a meaning here. `fields`, which would have one, is refused."""
DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)


class Params:
    """Reads parameters; every method raises Refusal."""

    def __init__(self, query: MultiMapping[str], known: Collection[str]) -> None:
        self._query = query
        for name in query:
            if name not in known and name not in STANDARD:
                raise Refusal(
                    400,
                    f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter. '
                    f"Field '{name}' could not be found in request message.",
                    "badRequest",
                )

    def text(self, name: str) -> str:
        """Read a text; empty when it is not there."""
        return self._query.get(name, "")

    def required(self, name: str) -> str:
        """Read a text that must be there."""
        text = self.text(name)
        if not text:
            raise invalid(name, f"Required parameter: {name}", "required")
        return text

    def names(self, name: str) -> list[str]:
        """Read a list: parted by commas, given again, or both. Each once, in the order asked."""
        listed = ",".join(self._query.getall(name, [])).split(",")
        return list(dict.fromkeys(each.strip() for each in listed if each.strip()))

    def whole(self, name: str, default: int | None, low: int, high: int | None = None) -> int | None:
        """Read a whole number from `low` to `high`."""
        text = self.text(name)
        if not text:
            return default
        if not WHOLE.fullmatch(text):
            raise invalid(name, f"Invalid value at '{name}' (TYPE_INT32), \"{text}\"")
        number = int(text)
        if number < low or (high is not None and number > high):
            limits = f"at least {low}" if high is None else f"within the range: [{low}, {high}]"
            raise invalid(name, f"Invalid value '{number}'. Values must be {limits}")
        return number

    def day(self, name: str) -> date:
        """Read a day that must be there, as YYYY-MM-DD."""
        text = self.required(name)
        try:
            if not DAY.fullmatch(text):
                raise ValueError
            return date.fromisoformat(text)
        except ValueError:
            raise invalid(name, f"Invalid value '{text}'. Values must match the following format: YYYY-MM-DD") from None


def normalised(query: MultiMapping[str]) -> str:
    """Write a question the same way however its parameters are ordered: `dimensions=day&ids=channel==MINE&...`."""
    return "&".join(sorted(f"{name}={value}" for name, value in query.items() if name not in STANDARD))
