"""Lists in pages: what a page holds, and the `Link` header that leads to the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

PER_PAGE, MOST_PER_PAGE = 30, 100


@dataclass(frozen=True, slots=True)
class Page:
    """The page that a request asks for. Numbers that are none count as absent, as they do at GitHub."""

    number: int
    size: int

    @classmethod
    def of(cls, request: web.Request) -> "Page":
        """Read `page` and `per_page`."""
        size = _number(request.query.get("per_page")) or PER_PAGE
        return cls(_number(request.query.get("page")) or 1, min(size, MOST_PER_PAGE))

    def cut(self, rows: Sequence[Any]) -> Sequence[Any]:
        """Give the rows of this page."""
        return rows[(self.number - 1) * self.size : self.number * self.size]

    def link(self, request: web.Request, path: str, count: int) -> str | None:
        """Write the `Link` header of a list of `count` rows at `path`; None where one page holds all."""
        last = max(1, -(-count // self.size))
        relations = []
        if self.number > 1:
            relations += [("prev", self.number - 1)]
        if self.number < last:
            relations += [("next", self.number + 1), ("last", last)]
        if self.number > 1:
            relations += [("first", 1)]
        kept = {name: value for name, value in request.query.items() if name not in {"page", "per_page"}}
        base = f"{request.scheme}://{request.host}{path}"
        return (
            ", ".join(
                f'<{base}?{urlencode({**kept, "per_page": self.size, "page": number})}>; rel="{relation}"'
                for relation, number in relations
            )
            or None
        )


def _number(text: str | None) -> int:
    """Read a number above 0; 0 for all else."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 10 else 0
