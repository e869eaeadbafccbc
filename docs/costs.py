"""Write the table of docs/costs.md: `.venv/bin/python docs/costs.py`."""

from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).with_suffix(".md")
BEGINS, ENDS = "<!-- begin of the table: docs/costs.py writes it -->", "<!-- end of the table -->"

DAYS = 30
MINIMUM = 10e6
"""Bytes that a query is charged for at least: for each table in BigQuery, for each query in Athena."""
TIB, GIB = 2**40, 2**30

# US dollars, with the year and month of the price list that was read
QUERY = 6.25 / TIB
"""BigQuery, on demand, a byte (2025-08). The first TiB of a month is free and is not subtracted here."""
STORED = 0.02 / GIB
"""BigQuery, active storage, a byte and month (2025-08)."""
PUBSUB = 40 / TIB
"""Pub/Sub, a byte that is published or delivered (2025). The first 10 GiB of a month are free."""
ATHENA = 5 / 1e12
"""Athena, a byte (2025)."""
X_POST = 0.005
"""X, a post that is read (2026-02)."""


@dataclass(frozen=True)
class System:
    """A month of one system.

    :param runs: runs a day.
    :param scans: reads of tables, or queries of Athena, in a run: those in include/sql, and eight of each stream.
    :param scanned: bytes of one of them, if it is more than the minimum.
    :param rows: rows a day that are new, and stay for a year.
    :param row: bytes of a row.
    """

    name: str
    what: str
    runs: float
    scans: int
    scanned: float
    rows: float
    row: int
    posts: float = 0
    athena: bool = False

    def query(self) -> float:
        """Return dollars for queries."""
        each = max(MINIMUM, self.scanned) * (ATHENA if self.athena else QUERY)
        return DAYS * self.runs * self.scans * each

    def storage(self) -> float:
        """Return dollars for storage, once a year of rows is there."""
        return 365 * self.rows * self.row * STORED

    def messages(self) -> float:
        """Return dollars for Pub/Sub: each post is published and delivered."""
        return 2 * DAYS * self.posts * self.row * PUBSUB

    def api(self) -> float:
        """Return dollars for the API."""
        return DAYS * self.posts * X_POST


SYSTEMS = (
    System("titanic_passengers", "1,309 passengers a day", 1, 10, 0, 0, 300),
    System("youtube_analytics", "200 videos, 7 days back", 1, 40, 60e6, 200, 400),
    System("github_users", "100,000 users a day", 1, 30, 60e6, 0, 500),
    System("x_posts", "3,000 posts a day, a run every 10 minutes", 144, 33, 30e6, 3_000, 2_000, 3_000),
    System("x_posts", "100,000 posts a day, a run every 2 minutes", 720, 33, 400e6, 100_000, 2_000, 100_000),
    System("spotify_artists", "1,000 artists a day", 1, 58, 20e6, 1_000, 300, athena=True),
)


def table() -> str:
    """Return the table, in US dollars a month."""
    lines = ["| system | a month of | API | queries | storage | messages |", "|---|---|---:|---:|---:|---:|"]
    for system in SYSTEMS:
        costs = (system.api(), system.query(), system.storage(), system.messages())
        lines.append(f"| {system.name} | {system.what} | {' | '.join(f'{cost:,.2f}' for cost in costs)} |")
    return "\n".join(lines)


def page() -> str:
    """Return the page with the table of today."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGINS)
    return f"{head}{BEGINS}\n\n{table()}\n\n{ENDS}{rest.partition(ENDS)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
