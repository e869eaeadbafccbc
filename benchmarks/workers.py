"""One worker and two on the same plan: CPU a call, and the speed-up, with what the server and MongoDB use.

``python -m benchmarks.workers [--calls 10000] [--rounds 3] [--delay-ms 20]``. The workers are processes. Two share 64
connections, or 128. All take turns, so what changes on the machine meanwhile meets each. Figures are medians.
"""

import argparse
import signal
import statistics
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace

from benchmarks.backends import Api, Mongo, NotReady, api, mongo
from benchmarks.contenders import ENGINE
from benchmarks.measure import Wrong, busy, child, finished, job, verify
from benchmarks.options import positive
from benchmarks.report import table

_ONE = (1, 64)


@dataclass(frozen=True, slots=True)
class Shared:
    """One harvest by several workers: seconds, and microseconds of CPU a call."""

    seconds: float
    workers_us: float
    server_us: float
    mongo_us: float


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    parser.add_argument("--calls", type=positive, default=10_000)
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--delay-ms", type=int, default=20, help="time the server takes for an answer (20)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("The benchmark was ended."))  # so that its servers end too
    runs: dict[tuple[int, int], list[Shared]] = {_ONE: [], (2, 64): [], (2, 128): []}
    try:
        with mongo() as store, api(options.delay_ms) as server:
            for _ in range(options.rounds):
                for (workers, connections), measured in runs.items():
                    measured.append(_harvest(server, store, options.calls, workers, connections))
    except (NotReady, Wrong) as trouble:
        print(trouble, file=sys.stderr)
        return 1
    found = {kind: _median(measured) for kind, measured in runs.items()}
    alone = found[_ONE]
    rows = [
        (
            *map(str, kind),
            f"{options.calls / one.seconds:,.0f}",
            f"{alone.seconds / one.seconds:.2f}",
            f"{one.workers_us / alone.workers_us:.2f}",
            *(f"{us:.0f} us" for us in _costs(one)),
        )
        for kind, one in found.items()
    ]
    names = ("workers", "connections", "calls/s", "times as fast", "times the CPU", "CPU a call", "server", "MongoDB")
    print(table(names, rows))
    return 0


def _harvest(server: Api, store: Mongo, calls: int, workers: int, connections: int) -> Shared:
    store.clear()
    server.reset()
    work = job(server, store, calls, connections)
    with child(ENGINE.module, "plan", work) as planner:
        finished(planner, "the plan")
    before = busy(server.process, store)
    with ExitStack() as stack:
        each = [replace(work, worker=number, workers=workers) for number in range(workers)]
        running = [stack.enter_context(child(ENGINE.module, "harvest", one)) for one in each]
        costs = [finished(process, ENGINE.label) for process in running]
    after = busy(server.process, store)
    verify(ENGINE, server, store, calls)
    us = 1e6 / calls
    return Shared(
        max(cost["wall_s"] for cost in costs),
        sum(cost["cpu_s"] for cost in costs) * us,
        (after["server"] - before["server"]) * us,
        (after["mongo"] - before["mongo"]) * us,
    )


def _costs(one: Shared) -> tuple[float, float, float]:
    return one.workers_us, one.server_us, one.mongo_us


def _median(runs: list[Shared]) -> Shared:
    return Shared(
        *(statistics.median(values) for values in zip(*((one.seconds, *_costs(one)) for one in runs), strict=True))
    )


if __name__ == "__main__":
    sys.exit(main())
