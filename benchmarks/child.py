"""The process of one contender: run it, and print what it took as one line of JSON.

Imports are left out of the times and included in the memory. The job is of the class that the module of the
contender knows as ``Job``.

``python -m benchmarks.child <module of contenders> <function> <job as JSON>``
"""

import json
import re
import resource
import sys
import time
from importlib import import_module
from pathlib import Path


def main() -> None:
    """Measure the work named on the command line."""
    module, function, job_json = sys.argv[1:]
    contender = import_module(f"benchmarks.contenders.{module}")
    work, job = getattr(contender, function), contender.Job(**json.loads(job_json))
    cpu_s, began = time.process_time(), time.perf_counter()
    told = work(job)
    wall_s = time.perf_counter() - began
    process_cpu_s = time.process_time()
    cost = {
        "wall_s": wall_s,
        "plan_s": told if isinstance(told, float) else 0.0,
        "cpu_s": process_cpu_s - cpu_s,
        "process_cpu_s": process_cpu_s,
        "peak_rss": peak_rss(),
    }
    print(json.dumps(cost))


def peak_rss() -> int:
    """Return the most memory this program held, in bytes.

    Linux counts what a process held before it became this program, a copy of its parent, in ``ru_maxrss`` too;
    ``VmHWM`` is of this program alone.
    """
    status = Path("/proc/self/status")
    if status.exists():
        kilobytes = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
        assert kilobytes, "Linux tells VmHWM of every process"  # noqa: S101
        return int(kilobytes[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts in bytes


if __name__ == "__main__":
    main()
