"""`make bench-check`: which ratios are a loss."""

import pytest

from benchmarks.check import losses, ratios
from benchmarks.measure import Measurement


def run(cpu_s: float, wall_s: float) -> Measurement:
    return Measurement(1_000, wall_s, cpu_s, 0, 0.0, 0.0, 0.0)


def test_ratios_are_of_the_best_runs_of_both_sides() -> None:
    runs = {"engine": [run(0.9, 3.0), run(0.3, 1.5)], "bare": [run(0.15, 4.0), run(0.2, 1.0)]}
    assert ratios(runs) == {"CPU a call / bare": 2.0, "seconds a call / bare": 1.5}


@pytest.mark.parametrize(("now", "lost"), [(1.0, []), (2.39, []), (2.41, ["CPU"])])
def test_a_ratio_that_is_worse_by_a_fifth_is_a_loss(now: float, lost: list[str]) -> None:
    assert losses({"CPU": now, "new": 9.0}, {"CPU": 2.0}) == lost
