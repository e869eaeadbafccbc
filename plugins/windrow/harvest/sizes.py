"""How much of MongoDB each kind of document of each stream uses, and from when its oldest answers are."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from windrow.store.reports import Size
from windrow.store.status import StatusStore

KINDS = {
    "plans": ("windrow_plans",),
    "quarantine": ("windrow_quarantine",),
    "pages": ("windrow_pages",),
    "receipts": ("windrow_figures", "windrow_runs"),
}
"""Kinds of documents that all streams have in one place: their collections."""
SHARED = {
    "answers that may still hold (HTTP cache)": ("windrow_kept",),
    "lists that plans were made from": ("windrow_listings",),
    "quotas, events, warnings, alerts and consents": (
        *("windrow_quotas", "windrow_pauses", "windrow_stops", "windrow_events", "windrow_warnings"),
        *("windrow_alerts", "windrow_accepted", "windrow_claims", "windrow_consents"),
    ),
}
"""Kinds that belong to no single stream."""
_NOTHING = Size(0, 0)
_PATIENCE_S = 5.0
"""How long to count; the streams that are left are unknown."""


@dataclass(frozen=True, slots=True)
class StreamSize:
    """What a stream has in MongoDB, by kind. A kind that could not be counted in time is left out."""

    dataset: str
    kinds: Mapping[str, Size]
    oldest: str
    """When the oldest run began whose answers are still there; empty if there is none."""

    @property
    def octets(self) -> int:
        """Bytes of all kinds."""
        return sum(one.octets for one in self.kinds.values())


@dataclass(frozen=True, slots=True)
class Sizes:
    """What streams have in MongoDB, the largest first, and what belongs to none of them, at an ISO time in UTC."""

    streams: Sequence[StreamSize]
    shared: Mapping[str, Size]
    at: str


def read_sizes(store: StatusStore, datasets: Sequence[str], at: str) -> Sizes:
    """Read the sizes. Answers are measured by MongoDB; other kinds are counted times the mean of their collection.

    :raises StagingUnavailable: MongoDB did not answer.
    """
    until = time.monotonic() + _PATIENCE_S
    places = {name for names in (*KINDS.values(), *SHARED.values()) for name in names}
    exist = store.collections()
    known = {name: store.size(name) if name in exist else _NOTHING for name in places}
    streams = []
    for dataset in datasets:
        kinds = {}
        if time.monotonic() < until:
            kinds["answers"] = store.size(dataset) if dataset in exist else _NOTHING
        for kind, names in KINDS.items():
            if time.monotonic() < until:
                kinds[kind] = _sum([
                    store.counted(name, dataset, known[name]) for name in names if known[name].documents
                ])
        streams.append(StreamSize(dataset, kinds, store.oldest(dataset)))
    shared = {kind: _sum([known[name] for name in names]) for kind, names in SHARED.items()}
    return Sizes(sorted(streams, key=lambda one: -one.octets), shared, at)


def _sum(sizes: Sequence[Size]) -> Size:
    return Size(sum(one.documents for one in sizes), sum(one.octets for one in sizes))
