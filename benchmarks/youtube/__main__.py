"""Two years of 200 videos: Windrow with a kill in the middle, beside the serial loop and dlt.

``python -m benchmarks.youtube [--calls 146000] [--latency-ms 250] [--connections 128] [--only windrow,loop,dlt]``;
what it measures and how: README.md.
"""

import argparse
import signal
import sys

from benchmarks.backends import NotReady, mongo
from benchmarks.measure import Wrong, settle
from benchmarks.options import positive
from benchmarks.youtube import report
from benchmarks.youtube.job import VIDEOS
from benchmarks.youtube.runs import Bench, Outcome, bench

CONTENDERS = ("windrow", "loop", "dlt")


def main() -> int:
    """Measure, print the tables, and write the results of a whole run."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("The benchmark was ended."))  # so that its servers end too
    try:
        with mongo() as store, bench(store, options.calls // VIDEOS, options.connections, options.latency_ms) as ready:
            found = {}
            for name in options.only or CONTENDERS:
                found[name] = _run(name, ready, options)
                print(report.told(name, found[name]), flush=True)
            print(report.compared(found, options))
            if not options.only:
                report.write(found, options, store.kind)
    except (NotReady, Wrong) as trouble:
        print(trouble, file=sys.stderr)
        return 1
    return 0


def _run(name: str, ready: Bench, options: argparse.Namespace) -> Outcome:
    settle()
    if name == "windrow":
        return ready.windrow()
    return ready.loop(options.loop_calls) if name == "loop" else ready.dlt(options.dlt_calls)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.youtube", description=__doc__)
    parser.add_argument("--calls", type=_days, default=146_000, help="reports in all: 200 videos a day (146000)")
    parser.add_argument("--latency-ms", type=positive, default=250, help="time the API takes for an answer (250)")
    parser.add_argument("--connections", type=positive, default=128, help="connections of Windrow and of dlt (128)")
    parser.add_argument("--loop-calls", type=positive, default=300, help="calls of the serial loop (300)")
    parser.add_argument("--dlt-calls", type=positive, default=30_000, help="calls of dlt (30000)")
    parser.add_argument("--only", type=_names, default=(), help="contenders by name, with commas between")
    return parser.parse_args()


def _days(text: str) -> int:
    calls = positive(text)
    if calls % VIDEOS:
        raise argparse.ArgumentTypeError(f"{text!r} should be a multiple of {VIDEOS}: so many calls make a day")
    return calls


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not set(CONTENDERS).issuperset(names):
        raise argparse.ArgumentTypeError(f"known contenders are {', '.join(CONTENDERS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
