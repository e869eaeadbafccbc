"""Deletes from MongoDB what old runs have left there, once it is safe elsewhere."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from windrow.landing.archive import Archive
from windrow.landing.files import ObjectStore
from windrow.model.errors import WindrowError
from windrow.model.logs import about
from windrow.model.plan import Run
from windrow.store.staging import Staging
from windrow.store.status import StatusStore
from windrow.store.summary import Summary

log = logging.getLogger(__name__)

LANDED, PURGED = "landed", "purged"
"""Steps of a run: where its files are, and that its answers were deleted."""
OpenStore = Callable[[Mapping[str, str]], ObjectStore]
"""Opens the bucket that the figures of `LANDED` name."""


@dataclass(slots=True)
class Tidied:
    """What was deleted, and why the rest was kept."""

    runs: int = 0
    """Runs whose answers, plan and quarantine were deleted; the archive has them."""
    documents: int = 0
    receipts: int = 0
    """Runs whose figures and summary were deleted."""
    kept: Counter[str] = field(default_factory=Counter)
    """Old runs that were kept, by reason."""

    def __str__(self) -> str:
        kept = "; ".join(f"{count:,} {reason}" for reason, count in self.kept.most_common())
        return (
            f"Deleted {self.documents:,} answers of {self.runs:,} runs, which are in their archives, and "
            f"{self.receipts:,} receipts. Kept: {kept or 'no old run'}."
        )


class Housekeeping:
    """Deletes what is older than the times that are given, which are ISO texts in UTC.

    A run keeps everything while it has no receipt that agrees, while its quarantine has an answer whose gap nobody
    accepted, and unless its archive is complete. What was deleted comes back from there when ``land`` is cleared.
    """

    def __init__(self, staging: Staging, status: StatusStore, open_store: OpenStore, *, dry_run: bool = False) -> None:
        self._staging = staging
        self._status = status
        self._open_store = open_store
        self._dry_run = dry_run

    def tidy(self, *, answers_before: str, receipts_before: str) -> Tidied:
        """Delete answers of runs, and receipts. Doing it again, also after a kill, deletes the rest."""
        tidied = Tidied()
        for summary in self._status.older(answers_before):
            if summary.updated_at >= answers_before and not _is_purged(summary):
                tidied.kept["with a step since then"] += 1
                continue
            run = Run(summary.dataset, summary.run_id, summary.dag_id)
            if not _is_purged(summary):
                reason = self._reason_to_keep(run, summary)
                if reason:
                    tidied.kept[reason] += 1
                    continue
                tidied.runs += 1
                if not self._dry_run:
                    tidied.documents += self._purge(run)
            if summary.first_at < receipts_before:
                tidied.receipts += 1
                if not self._dry_run:
                    self._staging.forget_figures(run)
        return tidied

    def _purge(self, run: Run) -> int:
        documents = self._staging.forget(run)
        self._staging.note(run, PURGED, {"answers": documents})
        with about(run):
            log.info("deleted %s answers of %s", f"{documents:,}", run)
        return documents

    def _reason_to_keep(self, run: Run, summary: Summary) -> str:
        if summary.steps.get("receipt", {}).get("agrees") is not True or summary.trouble:
            return "without a receipt that agrees"
        quarantined = self._staging.quarantined_keys(run)
        if quarantined and (not summary.planned or quarantined - self._staging.accepted_gaps(run).keys()):
            return "with answers in the quarantine"
        if not summary.planned:  # a batch of messages, which MongoDB does not have, or an empty plan
            return ""
        place = summary.steps.get(LANDED)
        if not place:
            return "without a known archive"
        try:
            missing = Archive(self._open_store(place), place["prefix"]).missing(self._staging, run)
        except WindrowError as error:
            missing = error.what
        if missing:
            with about(run):
                log.warning("%s is kept, as its archive is not complete: %s", run, missing)
        return "without a complete archive" if missing else ""


def _is_purged(summary: Summary) -> bool:
    """Whether nothing was written since the answers were deleted."""
    purged = summary.times.get(PURGED, "")
    return bool(purged) and purged >= max(at for name, at in summary.times.items() if name != PURGED)
