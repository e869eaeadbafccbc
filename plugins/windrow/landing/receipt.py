"""The receipt of a run: what was planned, staged, exported, loaded and merged, and whether it is one number."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from windrow.harvest.flow import STEP
from windrow.landing.files import Manifest
from windrow.model.answer import Outcome
from windrow.model.errors import CountsDisagree
from windrow.model.plan import Plan
from windrow.store.staging import LIST, LOOK_UP, Figures, Staging

_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Staged:
    """What MongoDB holds of a plan, counted now."""

    answered: int
    gaps: int
    quarantined: int
    """All answers there, also to queries of no plan."""
    examples: tuple[str, ...] = ()
    """Some of the queries behind ``gaps`` and ``quarantined``, each with what is wrong, for messages."""
    left_out: int = 0
    """Of ``quarantined`` those that the plan was to be made from."""
    looked_up: int = 0
    """Of ``quarantined`` those that were only looked up."""

    @classmethod
    def count(cls, staging: Staging, plan: Plan) -> "Staged":
        """Count chunk by chunk; settled queries that are no longer in the plan do not count."""
        answered = gaps = 0
        examples = []
        for number in range(plan.chunks):
            planned = {query.key for query in staging.chunk(plan.run, number).queries}
            for key, outcome in staging.settled(plan.run, number).items():
                answered += key in planned and outcome is Outcome.ANSWERED
                if key in planned and outcome is Outcome.MISSING:
                    gaps += 1
                    if gaps <= _EXAMPLES:
                        examples.append(f"{key!r}: the API knows no such thing")
        quarantined = staging.quarantined(plan.run)
        examples += [f"{one.query.key!r}: {one.reason}" for _, one in quarantined[:_EXAMPLES]]
        beside = Counter(number for number, _ in quarantined)
        return cls(answered, gaps, len(quarantined), tuple(examples[:_EXAMPLES]), beside[LIST], beside[LOOK_UP])


@dataclass(frozen=True, slots=True)
class Receipt:
    """The counts of a run, each taken from the system that holds it."""

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

    def disagreements(self) -> list[str]:
        """Say what does not add up, and what to do about it. Empty when all is well."""
        plan, staged, manifest = self.plan, self.staged, self.manifest
        found = []
        missing = plan.planned - staged.answered - staged.gaps
        if missing:
            found.append(
                f"{missing:,} of {plan.planned:,} planned queries are not staged, "
                f"{min(missing, staged.quarantined - staged.left_out - staged.looked_up):,} of them are "
                "in the quarantine: clear 'harvest' with all tasks downstream to ask the API again, or mend the "
                "source's reader and clear 'land' with all tasks downstream to read the kept answers again"
            )
        if staged.left_out:
            found.append(
                f"{staged.left_out:,} answers that the plan was to be made from are in the quarantine, and what "
                "follows from them is missing: clear the task that plans with all tasks downstream to ask again"
            )
        if staged.gaps > self.max_gaps:
            found.append(
                f"the API knows nothing of {staged.gaps:,} of {plan.planned:,} queries, and the run accepts "
                f"{self.max_gaps:,}: trigger a run with a higher max_gaps, or have the API's list mended"
            )
        if manifest.unreadable:
            found.append(
                f"{manifest.unreadable:,} staged answers could not be read when they were landed: mend the source's "
                "reader, then clear 'land' with all tasks downstream"
            )
        elif manifest.answers != staged.answered:
            found.append(
                f"{staged.answered:,} answers are staged and {manifest.answers:,} of them are landed: "
                "clear 'land' with all tasks downstream"
            )
        if self.one_record_an_answer and manifest.records != manifest.answers:
            found.append(
                f"{manifest.answers:,} answers gave {manifest.records:,} records, and each should give one: "
                "look at the source's reader"
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
        """Return the receipt as plain numbers, with what the run's steps did to get the answers.

        :param notes: the figures of the run's steps. Harvests and flows are summed, all tries together.
        """
        notes = notes or {}
        total = {"sent": 0, "retried": 0, "throttled": 0, "unchanged": 0, "tokens": 0}
        seconds = 0.0
        for step, note in notes.items():
            if step.startswith(("harvest ", STEP)):
                seconds += note.get("seconds", 0.0)
                for name in total:
                    total[name] += note[name]
        if "drain" in notes:  # the calls were made by a queue, which counts neither attempts nor tokens
            total = {"enqueued": notes["enqueue"]["enqueued"], "given_up": notes["drain"]["given_up"]}
            seconds = notes["enqueue"]["seconds"] + notes["drain"]["seconds"]
        return {
            "agrees": not self.disagreements(),
            "listed": self.plan.listed,
            "planned": self.plan.planned,
            "staged": self.staged.answered,
            "gaps": self.staged.gaps,
            "quarantined": self.staged.quarantined,
            "exported": self.manifest.records,
            "loaded": self.loaded,
            "merged": self.merged,
            "table": self.total,
            **total,
            "harvest_seconds": round(seconds, 3),
        }

    def prove(self) -> None:
        """Return if the counts agree.

        :raises CountsDisagree: naming each count that does not fit, and the task to clear.
        """
        found = self.disagreements()
        if found:
            points = "; ".join(f"({place}) {text}" for place, text in enumerate(found, 1))
            examples = f" Queries concerned: {'; '.join(self.staged.examples)}." if self.staged.examples else ""
            raise CountsDisagree(
                f"The receipt of {self.plan.run.dataset}, run {self.plan.run.run_id!r}, does not add up. "
                f"{points}.{examples}",
                advice="Do what each point says. Nothing is lost: what was fetched is in MongoDB and landed.",
            )


def as_text(figures: Mapping[str, object]) -> str:
    """Show a receipt's figures as lines for a log or a terminal."""
    width = max(map(len, figures))
    lines = []
    for name, value in figures.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        lines.append(f"  {name.replace('_', ' '):<{width}}  {f'{value:,}' if is_number else value}")
    return "\n".join(lines)
