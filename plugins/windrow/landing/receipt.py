"""The receipt of a run: the counts of what was planned, staged, exported, loaded and merged, and whether they agree."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from windrow.harvest.flow import STEP
from windrow.landing.files import Manifest
from windrow.model.answer import Answer, Outcome
from windrow.model.errors import CountsDisagree
from windrow.model.plan import Plan
from windrow.model.response import Response
from windrow.store.quarantine import LIST, LOOK_UP
from windrow.store.staging import Figures, Staging

_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Staged:
    """The counts of a plan in MongoDB."""

    answered: int
    gaps: int
    quarantined: int
    """All answers in the quarantine, also those to queries that are not in the plan."""
    examples: tuple[str, ...] = ()
    """Some of the queries in ``gaps``, ``partial`` and ``quarantined``, each with the reason, for messages."""
    left_out: int = 0
    """Of ``quarantined`` those that the plan is made from."""
    looked_up: int = 0
    """Of ``quarantined`` those of look-ups."""
    partial: int = 0
    """Of ``answered`` those without their last pages."""
    erased: int = 0
    """Queries that were about a person, whom `windrow erase` took out. Nothing follows from them any more."""
    accepted: int = 0
    """Planned queries that are not settled, and whose gap a person accepted. They may be in the quarantine, too."""

    @classmethod
    def count(cls, staging: Staging, plan: Plan) -> "Staged":
        """Count chunk by chunk. Settled queries that are no longer in the plan do not count."""
        counted: Counter[Outcome] = Counter()
        gaps, accepted = staging.accepted_gaps(plan.run), 0
        examples: list[str] = []
        for number in range(plan.chunks):
            planned = {query.key: query for query in staging.chunk(plan.run, number).queries}
            settled = staging.settled(plan.run, number)
            accepted += len(gaps.keys() & planned.keys() - settled.keys())
            for key, outcome in settled.items():
                if key not in planned:
                    continue
                counted[outcome] += 1
                if outcome not in {Outcome.ANSWERED, Outcome.ERASED} and len(examples) < _EXAMPLES:
                    examples += [_why(answer) for answer in [staging.answer(plan.run, planned[key])] if answer]
        quarantined = staging.quarantined(plan.run, with_bodies=False)
        examples += [f"{one.query.key!r}: {one.reason}" for _, one in quarantined[:_EXAMPLES]]
        beside = Counter(number for number, _ in quarantined)
        return cls(
            answered=counted[Outcome.ANSWERED] + counted[Outcome.PARTIAL],
            gaps=counted[Outcome.MISSING],
            quarantined=len(quarantined),
            examples=tuple(examples[:_EXAMPLES]),
            left_out=beside[LIST],
            looked_up=beside[LOOK_UP],
            partial=counted[Outcome.PARTIAL],
            erased=counted[Outcome.ERASED],
            accepted=accepted,
        )


def _why(answer: Answer) -> str:
    """Return why an answer is a gap, for a message: what the API answered, or what the source says."""
    if answer.outcome is Outcome.PARTIAL:
        return f"{answer.query.key!r}: the rows from page {answer.next_link!r} on are missing (HTTP {answer.status})"
    return f"{answer.query.key!r}: {Response(answer.status, answer.body.encode()).summary}"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The counts of a run, each from the system that has the data."""

    plan: Plan
    staged: Staged
    manifest: Manifest
    loaded: int
    """Records in the landing table of the warehouse."""
    merged: int
    """Records of this landing that the final table holds, in this or a newer version."""
    total: int
    """Records in the final table, of all runs."""
    max_gaps: int = 0
    """Gaps that the run accepts."""
    one_record_an_answer: bool = False

    @property
    def gaps(self) -> int:
        """What the API does not return: queries, last pages of answers, and records that can be read."""
        return self.staged.gaps + self.staged.partial + self.manifest.left_out

    def disagreements(self) -> list[str]:
        """Return which counts do not agree, each with what to do; empty if all agree."""
        plan, staged, manifest = self.plan, self.staged, self.manifest
        found = []
        missing = plan.planned - staged.answered - staged.gaps - staged.erased - staged.accepted
        if missing:
            found.append(
                f"{missing:,} of {plan.planned:,} planned queries are not staged, "
                f"{min(missing, staged.quarantined - staged.left_out - staged.looked_up):,} of them are "
                "in the quarantine: clear 'harvest' with all tasks downstream to request them again, or fix the reader "
                "of the source and clear 'land' with all tasks downstream to read the stored answers again"
            )
        if staged.left_out:
            found.append(
                f"{staged.left_out:,} answers that the plan was to be made from are in the quarantine, and what "
                "follows from them is missing: clear the task that plans with all tasks downstream to request them "
                "again"
            )
        if self.gaps > self.max_gaps:
            counts = (
                (staged.gaps, f"of {plan.planned:,} queries have no answer"),
                (staged.partial, "answers lack their last pages"),
                (manifest.left_out, "records cannot be read and are left out"),
            )
            found.append(
                f"the run has {self.gaps:,} gaps and accepts {self.max_gaps:,} "
                f"({', '.join(f'{count:,} {what}' for count, what in counts if count)}): trigger a run with a higher "
                "max_gaps, or correct what is missing at the API"
            )
        if manifest.unreadable:
            found.append(
                f"{manifest.unreadable:,} staged answers could not be read when they were landed: fix the reader of "
                "the source, then clear 'land' with all tasks downstream"
            )
        elif manifest.answers != staged.answered:
            found.append(
                f"{staged.answered:,} answers are staged and {manifest.answers:,} of them are landed: "
                "clear 'land' with all tasks downstream"
            )
        if self.one_record_an_answer and manifest.records != manifest.answers:
            found.append(
                f"{manifest.answers:,} answers gave {manifest.records:,} records, and each must give one: "
                "check the reader of the source"
            )
        if self.loaded != manifest.records:
            found.append(
                f"{manifest.records:,} records are landed and {self.loaded:,} are in the landing table: "
                "clear 'load' with all tasks downstream"
            )
        if self.merged != self.loaded:
            found.append(
                f"{self.loaded:,} records are in the landing table and {self.merged:,} of them in the final table: "
                "clear 'merge' with all tasks downstream"
            )
        return found

    def figures(self, notes: Mapping[str, Figures] | None = None) -> Figures:
        """Return the receipt as plain numbers, with the figures of the steps of the run.

        :param notes: the figures of the run's steps. Harvests and flows are summed, all tries together.
        """
        notes = notes or {}
        total = {"sent": 0, "retried": 0, "throttled": 0, "unchanged": 0, "tokens": 0}
        units: Counter[str] = Counter()
        seconds = 0.0
        for step, note in notes.items():
            if step.startswith(("harvest ", STEP)):
                seconds += note.get("seconds", 0.0)
                for name in total:
                    total[name] += note[name]
                units.update(dict(note.get("units", ())))
        if "drain" in notes:  # the calls were made by a queue, which counts neither attempts nor tokens
            total = {"enqueued": notes["enqueue"]["enqueued"], "given_up": notes["drain"]["given_up"]}
            seconds = notes["enqueue"]["seconds"] + notes["drain"]["seconds"]
        return {
            "agrees": not self.disagreements(),
            "listed": self.plan.listed,
            "planned": self.plan.planned,
            "staged": self.staged.answered,
            "gaps": self.gaps,
            "quarantined": self.staged.quarantined,
            **({"erased": self.staged.erased} if self.staged.erased else {}),
            **({"accepted_gaps": self.staged.accepted} if self.staged.accepted else {}),
            "exported": self.manifest.records,
            "loaded": self.loaded,
            "merged": self.merged,
            "table": self.total,
            **total,
            **({"units": sorted(units.items())} if units else {}),
            "harvest_seconds": round(seconds, 3),
        }

    def verdict(self) -> Figures:
        """Return what explains the receipt to people: what does not agree, and the counts behind its subtractions."""
        return {
            "points": self.disagreements(),
            "answers": self.manifest.answers,
            "unreadable": self.manifest.unreadable,
            "left_out": self.staged.left_out,
            "looked_up": self.staged.looked_up,
            "max_gaps": self.max_gaps,
            "query_gaps": self.staged.gaps,
            "partial": self.staged.partial,
            "records_left_out": self.manifest.left_out,
        }

    def prove(self) -> None:
        """Return if the counts agree.

        :raises CountsDisagree: the message has each count that does not agree, and the task to clear.
        """
        found = self.disagreements()
        if found:
            points = "; ".join(f"({place}) {text}" for place, text in enumerate(found, 1))
            examples = f" Queries concerned: {'; '.join(self.staged.examples)}." if self.staged.examples else ""
            raise CountsDisagree(
                f"The receipt of {self.plan.run.dataset}, run {self.plan.run.run_id!r}, does not add up. "
                f"{points}.{examples}",
                advice="Follow each point. Nothing is lost: all answers are in MongoDB, and landed.",
            )


def as_text(figures: Mapping[str, object]) -> str:
    """Format the figures of a receipt as lines for a log or a terminal."""
    width = max(map(len, figures))
    lines = []
    for name, value in figures.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        text = f"{value:,}" if is_number else str(value)
        if isinstance(value, list):  # units, with the names of their quotas
            text = ", ".join(f"{count:,} of {quota}" for quota, count in value)
        lines.append(f"  {name.replace('_', ' '):<{width}}  {text}")
    return "\n".join(lines)
