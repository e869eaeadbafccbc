"""Deletes from MongoDB what old runs have left there, once it is safe elsewhere."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping
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
    """Runs whose answers, plan and quarantine were deleted; the archive has them, or they were given up."""
    documents: int = 0
    listings: int = 0
    """Answers that their plans were made from."""
    receipts: int = 0
    """Runs whose figures and summary were deleted."""
    kept: Counter[str] = field(default_factory=Counter)
    """Old runs that were kept, by reason."""

    def __str__(self) -> str:
        kept = "; ".join(f"{count:,} {reason}" for reason, count in self.kept.most_common())
        return (
            f"Deleted {self.documents:,} answers of {self.runs:,} runs, which are in their archives or were given up, "
            f"{self.listings:,} lists, and {self.receipts:,} receipts. Kept: {kept or 'no old run'}."
        )


class Housekeeping:
    """Deletes what is older than the times that are given, which are ISO texts in UTC.

    A run keeps everything while it has no receipt that agrees, while its quarantine has an answer whose gap nobody
    accepted, and unless its archive is complete. What was deleted comes back from there when ``land`` is cleared.

    :param give_up: old runs, as ``dataset|run_id``, that are deleted whatever they lack.
    """

    def __init__(
        self,
        staging: Staging,
        status: StatusStore,
        open_store: OpenStore,
        *,
        give_up: Collection[str] = (),
        dry_run: bool = False,
    ) -> None:
        self._staging = staging
        self._status = status
        self._open_store = open_store
        self._give_up = frozenset(give_up)
        self._dry_run = dry_run

    def tidy(self, *, answers_before: str, receipts_before: str) -> Tidied:
        """Delete answers of runs, and receipts. Doing it again, also after a kill, deletes the rest."""
        tidied = Tidied()
        deleted: set[Run] = set()
        for summary in self._status.older(answers_before, with_answers=True):
            run = Run(summary.dataset, summary.run_id, summary.dag_id)
            if summary.updated_at >= answers_before:
                tidied.kept["with a step since then"] += 1
                continue
            is_given_up = str(run) in self._give_up
            if not is_given_up and (reason := self._reason_to_keep(run, summary)):
                tidied.kept[reason] += 1
                continue
            deleted.add(run)
            tidied.runs += 1
            if not self._dry_run:
                tidied.documents += self._purge(run, given_up=is_given_up)
        if not self._dry_run:
            tidied.listings = self._forget_listings({run.run_id for run in deleted})
        for summary in self._status.older(receipts_before):
            run = Run(summary.dataset, summary.run_id, summary.dag_id)
            if PURGED in summary.steps or run in deleted:
                tidied.receipts += 1
                if not self._dry_run:
                    self._staging.forget_figures(run)
        return tidied

    def _purge(self, run: Run, *, given_up: bool) -> int:
        documents = self._staging.forget(run)
        self._staging.note(run, PURGED, {"answers": documents} | ({"given_up": True} if given_up else {}))
        with about(run):
            log.info("deleted %s answers of %s%s", f"{documents:,}", run, ", which was given up" if given_up else "")
        return documents

    def _forget_listings(self, run_ids: Collection[str]) -> int:
        """Delete what the plans of runs were made from, unless another dataset of the run still has its answers."""
        datasets = self._status.datasets() if run_ids else []
        count = 0
        for run_id in sorted(run_ids):
            others = self._status.named([Run(dataset, run_id) for dataset in datasets])
            if all(PURGED in other.steps for other in others):
                count += self._staging.forget_listings(run_id)
        return count

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
