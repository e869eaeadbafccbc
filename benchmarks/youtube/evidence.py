"""The proof of a harvest, from both sides: what the server counted, and what MongoDB holds, figure by figure.

The figures are compared with the functions from which the fake YouTube makes its answers, not with anything that
Windrow has read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import orjson

from benchmarks.backends import DATABASE, Mongo
from benchmarks.measure import Wrong
from benchmarks.youtube.job import DATASET, METRICS, PATH, Job, Report
from local_cloud.apis.testing import FakeApi
from local_cloud.apis.youtube import figures
from local_cloud.apis.youtube.catalog import VIDEOS
from local_cloud.apis.youtube.pacific import pacific_day

Document = Mapping[str, Any]
Reader = Callable[[Document], tuple[Report, Any]]
"""Tells which report a document is, and gives the API's answer in it."""
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Calls:
    """What the server counted on the route of the reports. What is repeated is told apart without a remainder.

    A call that failed is made again because of the fault. One that was answered, and is made again all the same, and
    one whose client was gone before its answer, are made again because of a kill.
    """

    sent: int
    reports: int
    """Different ones."""
    answered: int
    """Different ones that were answered whole."""
    error_503: int
    refused_401: int
    cut: int
    answered_again: int
    abandoned: int
    """Not answered, as the client was gone."""
    tokens: int
    max_in_flight: int

    @classmethod
    def counted(cls, api: FakeApi) -> Self:
        """Read the server's counters."""
        counters = api.counters()
        route = counters["routes"][f"GET {PATH}"]
        return cls(
            sent=route["requests"],
            reports=route["unique"],
            answered=route["ok"] - route["repeated_ok"],
            error_503=route["by_status"].get("503", 0),
            refused_401=route["refused_401"],
            cut=route["cut"],
            answered_again=route["repeated_ok"],
            abandoned=route["abandoned"],
            tokens=counters["tokens_issued"],
            max_in_flight=route["max_in_flight"],
        )

    @property
    def repeated_for_faults(self) -> int:
        """Calls made again because a call failed."""
        return self.error_503 + self.refused_401 + self.cut

    @property
    def repeated_for_kill(self) -> int:
        """Calls made again because a process was killed."""
        return self.answered_again + self.abandoned

    def prove(self, label: str, planned: int) -> None:
        """Check that each report was asked for and answered, and that every call more has a reason.

        :raises Wrong: it is not so.
        """
        explained = planned + self.repeated_for_faults + self.repeated_for_kill
        if (self.reports, self.answered, self.sent) != (planned, planned, explained):
            raise Wrong(f"{label} should have asked for {planned:,} reports, in {explained:,} calls. Counted: {self}")


@dataclass(frozen=True, slots=True)
class Content:
    """What MongoDB holds, once it was found right."""

    documents: int
    with_rows: int
    """Reports with figures; those of days before a video was published have none."""
    views: int
    """Sum over all."""


def prove_content(label: str, mongo: Mongo, job: Job, read: Reader) -> Content:
    """Compare every document with the figures of its video and day.

    :raises Wrong: one is missing, or there twice, or says something else; or an answer is in quarantine.
    """
    database, today = mongo.client[DATABASE], pacific_day(job.at)
    left = set(job.reports())
    documents = with_rows = views = 0
    for document in database[DATASET].find({}):
        report, answer = read(document)
        if report not in left:
            raise Wrong(f"{label}: the report {report} is there twice, or nobody asked for it.")
        left.remove(report)
        rows, expected = _rows(answer), expected_rows(report, today)
        if rows != expected:
            raise Wrong(f"{label}: the report {report} should have {expected}, and has {rows}.")
        documents += 1
        with_rows += bool(rows)
        views += sum(row["views"] for row in rows)
    quarantined = database["windrow_quarantine"].count_documents({})
    if left or quarantined:
        raise Wrong(f"{label}: {len(left):,} reports are missing, and {quarantined:,} are in the quarantine.")
    return Content(documents, with_rows, views)


def staged(document: Document) -> tuple[Report, Any]:
    """Read a document of Windrow's staging."""
    asked = {name: values[0] for name, values in parse_qs(urlsplit(document["key"]).query).items()}
    if document["outcome"] != "answered" or asked["startDate"] != asked["endDate"]:
        raise Wrong(f"Windrow: the document {document['_id']} is no answer about one day.")
    report = asked["filters"].removeprefix("video=="), date.fromisoformat(asked["startDate"])
    return report, orjson.loads(document["body"])


def stored(document: Document) -> tuple[Report, Any]:
    """Read a document of a peer."""
    video, _, day = document["_id"].partition("|")
    return (video, date.fromisoformat(day)), document


def expected_rows(report: Report, today: date) -> Rows:
    """Make the rows that a report has on the Pacific day ``today``."""
    video, day = report
    known = figures.known(VIDEOS[video], day, today)
    if known is None:
        return []
    return [{"day": day.isoformat(), **{metric: figures.METRICS[metric].of(known) for metric in METRICS}}]


def _rows(answer: Any) -> Rows:
    names = [header["name"] for header in answer["columnHeaders"]]
    return [dict(zip(names, row, strict=True)) for row in answer.get("rows", ())]
