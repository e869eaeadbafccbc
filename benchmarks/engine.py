"""The engine beside its peers: the same calls, the same server, the same MongoDB, in one run.

``python -m benchmarks.engine [--connections 64] [--delay-ms 20] [--only engine,dlt] [--memory]``; what it measures and
how: README.md.
"""

import argparse
import signal
import sys

from benchmarks import memory, report
from benchmarks.backends import Mongo, NotReady, api, mongo
from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.measure import Measurement, Wrong, measure
from benchmarks.options import positive


def main() -> int:
    """Measure, print a table, and write the results of a whole run."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("The benchmark was ended."))  # so that its servers end too
    try:
        with mongo() as store:
            if options.memory:
                found = memory.compare(store, options.calls, options.connections)
                print(report.memory(found))
                report.write_memory(found, store.kind)
            else:
                chosen = [one for one in CONTENDERS if not options.only or one.name in options.only]
                runs = _rates(chosen, options, store)
                print(report.rates(runs))
                if name := options.results or ("" if options.only else "engine.json"):
                    report.write_rates(name, runs, options, store.kind)
    except (NotReady, Wrong) as trouble:
        print(trouble, file=sys.stderr)
        return 1
    return 0


def _rates(chosen: list[Contender], options: argparse.Namespace, store: Mongo) -> dict[Contender, list[Measurement]]:
    """Run every contender in every round: what changes on the machine meanwhile meets them all.

    Every second round is in reverse order, as what ran before a contender is a part of what it meets.
    """
    runs: dict[Contender, list[Measurement]] = {contender: [] for contender in chosen}
    with api(options.delay_ms) as server:
        for number in range(1, options.rounds + 1):
            for contender in chosen if number % 2 else reversed(chosen):
                calls = min(options.sample, options.calls) if contender.serial else options.calls
                run = measure(contender, server, store, calls, options.connections)
                runs[contender].append(run)
                report.tell(number, contender, run)
    return runs


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--calls", type=positive, default=10_000, help="calls of each contender (10000)")
    parser.add_argument("--sample", type=positive, default=300, help="calls of the serial loop (300)")
    parser.add_argument("--connections", type=positive, default=64, help="connections of the others (64)")
    parser.add_argument("--delay-ms", type=int, default=20, help="time the server takes for an answer (20)")
    parser.add_argument("--rounds", type=positive, default=3, help="runs of each contender (3)")
    parser.add_argument("--only", type=_names, default=(), help="contenders by name, with commas between")
    parser.add_argument("--results", default="", help="file of results/ to write; a whole run writes engine.json")
    parser.add_argument("--memory", action="store_true", help="measure the engine's memory instead: minutes")
    return parser.parse_args()


def _names(text: str) -> tuple[str, ...]:
    names, known = tuple(text.split(",")), {contender.name for contender in CONTENDERS}
    if not known.issuperset(names):
        raise argparse.ArgumentTypeError(f"known contenders are {', '.join(sorted(known))}")
    return names


if __name__ == "__main__":
    sys.exit(main())
