"""Which incidents happen, to what, and during which task: all from one seed."""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chaos.once import LASTS_S, TARGETS

KINDS = ("kill", "freeze", "restart")
FREEZE_S = 40.0
WORKER = "task process"
"""The target that is no service: the process of one running task."""
DAGS = (
    *("titanic_passengers", "youtube_analytics", "github_users", "spotify_artists"),
    *("spotify_new_artist", "x_posts"),
)
CALLS = ("harvest", "fetch", "sweep", "discover", "drain", "plan", "plan_videos", "plan_days", "estimate", "pull")
"""Last part of the ids of tasks that call an API, or wait for its calls."""
CALL_SHARE = 0.8
"""How many of the incidents are drawn for such a task."""


@dataclass(frozen=True)
class Incident:
    """What happens to which target. ``task`` chooses the task: the number of a task, modulo how many there are."""

    kind: str
    target: str
    dag: str
    calls: bool
    task: int
    share: float
    """When, as a share of the time that this task took in the run before."""

    @property
    def lasts_s(self) -> float:
        """How many seconds it lasts."""
        return FREEZE_S if self.kind == "freeze" else LASTS_S.get(self.kind, 0.0)

    def choose(self, tasks: Sequence[str]) -> str:
        """Return the task among those of a DAG; a task without calls where the DAG has none that calls."""
        calling = [name for name in tasks if name.rpartition(".")[2] in CALLS]
        others = [name for name in tasks if name not in calling]
        chosen = sorted((calling or others) if self.calls else (others or calling))
        return chosen[self.task % len(chosen)]


def deal(services: Sequence[str], count: int, seed: int, once: Sequence[str] = ()) -> list[Incident]:
    """Return so many incidents: no pair of kind and target comes again before each has come once.

    :param once: kinds that are among them once each.
    """
    dice = random.Random(seed)
    special = [(kind, dice.choice(TARGETS[kind])) for kind in once]
    drawn = [*special, *itertools.islice(_pairs(services, dice), max(0, count - len(special)))]
    if special:
        dice.shuffle(drawn)
    return [
        Incident(
            *pair,
            dag=dice.choice(DAGS),
            calls=dice.random() < CALL_SHARE,
            task=dice.randrange(1_000_000),
            share=dice.random(),
        )
        for pair in drawn
    ]


def _pairs(services: Sequence[str], dice: random.Random) -> Iterator[tuple[str, str]]:
    deck = [(kind, name) for kind in KINDS for name in services] + [("kill", WORKER), ("freeze", WORKER)]
    while True:
        yield from dice.sample(deck, len(deck))
