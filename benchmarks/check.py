"""One minute: is the engine slower than it was? Ratios to bare aiohttp and dlt are compared with those that are kept.

``python -m benchmarks.check [--keep]``. Both sides of a ratio are measured in turns in the same run, and of each the
best of `_ROUNDS` counts, so a busy machine changes a ratio less than a time.
"""

import argparse
import json
import signal
import sys
from collections.abc import Mapping, Sequence

from benchmarks import report
from benchmarks.backends import ROOT, NotReady, api, mongo
from benchmarks.contenders import CONTENDERS, ENGINE
from benchmarks.measure import Measurement, Wrong, job, once

_KEPT = ROOT / "benchmarks" / "results" / "check.json"
_CALLS, _CONNECTIONS, _DELAY_MS, _ROUNDS = 2_500, 64, 20, 3
_PEERS = [contender for contender in CONTENDERS if contender.name in {"bare", "dlt"}]
LOSS = 0.2
"""A ratio that is worse by more than this is a loss."""
Ratios = Mapping[str, float]
"""By name; less is better."""


def main() -> int:
    """Measure, and compare with the kept ratios or keep these."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep these ratios for later checks")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("The benchmark was ended."))  # so that its servers end too
    try:
        with mongo() as store, api(_DELAY_MS) as server:
            work = job(server, store, _CALLS, _CONNECTIONS)
            runs: dict[str, list[Measurement]] = {one.name: [] for one in (ENGINE, *_PEERS)}
            for _ in range(_ROUNDS):
                for contender in (ENGINE, *_PEERS):
                    runs[contender.name].append(once(contender, server, store, work))
            kind = store.kind
    except (NotReady, Wrong) as trouble:
        print(trouble, file=sys.stderr)
        return 1
    found = ratios(runs)
    if options.keep:
        report.write(_KEPT.name, {**report.machine(kind), "ratios": found})
        return 0
    kept: Ratios = json.loads(_KEPT.read_text())["ratios"]
    print(
        report.table(("ratio, less is better", "now", "kept"), [(n, f"{found[n]:.2f}", f"{kept[n]:.2f}") for n in kept])
    )
    lost = losses(found, kept)
    for name in lost:
        print(
            f"The engine lost more than {LOSS:.0%}: {name} is {found[name]:.2f} and was {kept[name]:.2f}. Run it again "
            "on a quiet machine. Then look for the commit that lost it, or keep the new ratios with `--keep`.",
            file=sys.stderr,
        )
    return 1 if lost else 0


def ratios(runs: Mapping[str, Sequence[Measurement]]) -> Ratios:
    """Return the engine's CPU a call and seconds a call as multiples of those of each peer."""
    cpu = {name: min(run.cpu_us for run in measured) for name, measured in runs.items()}
    rate = {name: max(run.rate for run in measured) for name, measured in runs.items()}
    peers = [name for name in runs if name != ENGINE.name]
    return {f"CPU a call / {name}": round(cpu[ENGINE.name] / cpu[name], 3) for name in peers} | {
        f"seconds a call / {name}": round(rate[name] / rate[ENGINE.name], 3) for name in peers
    }


def losses(found: Ratios, kept: Ratios) -> list[str]:
    """Return the names of the ratios that are worse than the kept ones by more than `LOSS`."""
    return [name for name, ratio in kept.items() if found[name] > ratio * (1 + LOSS)]


if __name__ == "__main__":
    sys.exit(main())
