"""How fast the Harvest pages are in Chromium, and whether twenty open tabs hold up other requests of the API server.

``python -m benchmarks.pages [--runs 1000] [--streams 50] [--answers 100000]``, with the environment of Airflow
(``make bench-pages``). The pages and Airflow's own routes are served by one process, over SQLite and the MongoDB of the
local cloud, a stand-in. Between them and MongoDB is a proxy, which can refuse connections or hold up each answer.
"""

import argparse
import asyncio
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import requests

from local_cloud import airflow_env, ports
from local_cloud.settings import Settings
from local_cloud.testing import running

DATABASE = "windrow_bench_pages"
LOADS, TABS, EVERY_S, TRIES = 15, 20, 10.0, 400
"""Loads of a page; tabs, and after how many seconds each looks again; requests of the route that must not wait."""
SLOW_S = 2.0
"""How long a slow MongoDB takes for an answer."""
PATHS = ("", "stream?name=stream_00", "quarantine", "limits", "sizes", "month")
TIMES = """(() => {
    const [visit] = performance.getEntriesByType('navigation');
    const paint = performance.getEntriesByName('first-contentful-paint')[0];
    return {data: visit.responseEnd - visit.startTime, paint: paint ? paint.startTime : null};
})()"""


def main() -> None:
    """Serve in a process of its own, and measure from here."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("runs", 1_000), ("streams", 50), ("answers", 100_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running({"mongo"}, Path(folder) / "var") as cloud:
        proxy = Proxy(cloud.mongo_port)
        spawn = multiprocessing.get_context("spawn")
        here, there = spawn.Pipe()
        proxied = replace(cloud, mongo_port=proxy.port)
        arguments = (folder, airflow_env.mongo_url(cloud), proxied, vars(options), there)
        server = spawn.Process(target=_serve, args=arguments, daemon=True)
        server.start()
        url, token = here.recv()
        try:
            asyncio.run(_in_chromium(url, token))
            _beside_tabs(url, token, proxy)
        finally:
            here.send("stop")
            server.join(30)


class Proxy:
    """Forwards to MongoDB; ``mode`` is open, stopped (it ends all connections), or slow (`SLOW_S` an answer)."""

    def __init__(self, port: int) -> None:
        self.mode = "open"
        (self.port,) = ports.find_free(1)
        self._to = port
        threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True).start()

    async def _run(self) -> None:
        server = await asyncio.start_server(self._forward, "127.0.0.1", self.port)
        await server.serve_forever()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode == "stopped":
            writer.close()
            return
        back, there = await asyncio.open_connection("127.0.0.1", self._to)
        await asyncio.gather(self._pipe(reader, there, 0.0), self._pipe(back, writer, SLOW_S), return_exceptions=True)

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, slow_s: float) -> None:
        while (data := await reader.read(65_536)) and self.mode != "stopped":
            if self.mode == "slow":
                await asyncio.sleep(slow_s)
            writer.write(data)
            await writer.drain()
        writer.close()


def _serve(folder: str, mongo_url: str, proxied: Settings, options: Mapping[str, int], done: Connection) -> None:
    """Fill both databases, and serve the pages until the other process ends it."""
    home = Path(folder) / "airflow"
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    }
    home.mkdir()
    from pymongo import MongoClient  # noqa: PLC0415 - Airflow reads its environment when it is imported

    from benchmarks.status import fill  # noqa: PLC0415
    from tests.ui.harvest_server import add_run, airflow_database, make_dag, run_id, serving  # noqa: PLC0415
    from windrow.store.staging import Staging  # noqa: PLC0415
    from windrow.ui.cache import RefreshedCache  # noqa: PLC0415
    from windrow.ui.harvest import snapshots  # noqa: PLC0415

    runs, streams = options["runs"], options["streams"]
    client: MongoClient[dict[str, Any]] = MongoClient(mongo_url)
    with airflow_database(), client:
        each = options["answers"] // runs
        fill(Staging(client, DATABASE), runs, streams, each, lambda of, place: (run_id(place + 1), f"dag_{of:02d}"))
        for number in range(streams):
            make_dag(f"dag_{number:02d}", (f"stream_{number:02d}",))
            for back in range(1, 1 + runs // streams):
                add_run(f"dag_{number:02d}", back, "success")
        with serving(proxied, DATABASE) as served:
            snapshots.cache = RefreshedCache(snapshots._refresh, seconds=snapshots.FRESH_S, patience_s=snapshots.LOOK_S)
            done.send((served.url, served.tokens["op"]))
            done.recv()


async def _in_chromium(url: str, token: str) -> None:
    from tests.ui import browser  # noqa: PLC0415

    print(f"{'page':<24}{'data, median':>14}{'longest':>10}{'first paint':>14}{'longest':>10}")
    async with browser.page() as opened:
        await opened.call("Network.setCookie", name="_token", value=token, url=url)
        await opened.dress(1280, 900, "light")
        for path in PATHS:
            found = []
            for _ in range(LOADS):
                await opened.open(f"{url}/windrow/harvest/{path}")
                await opened.until(
                    f"location.href.endsWith({path!r}) && document.documentElement.dataset.ready === 'yes'"
                    " && performance.getEntriesByName('first-contentful-paint').length"
                )
                found.append(await opened.value(TIMES))
            columns = [[one[name] for one in found] for name in ("data", "paint")]
            figures = "".join(f"{statistics.median(one):>11.0f} ms{max(one):>7.0f} ms" for one in columns)
            print(f"{path or 'now':<24}{figures}")
    browser.stop()


def _beside_tabs(url: str, token: str, proxy: Proxy) -> None:
    """Measure a route of Airflow that needs its database, beside no tab and beside `TABS` tabs."""
    head = ("median", "p95", "longest", "looks", "not 200")
    print(f"\n{'GET /api/v2/monitor/health':<38}", *(f"{one:>9}" for one in head))
    _line("no tab", url, lambda: None, [])
    for mode, words in (("open", "MongoDB is there"), ("stopped", "MongoDB stopped"), ("slow", "MongoDB slow")):
        proxy.mode = mode
        statuses: list[int] = []
        stop = threading.Event()

        def tab(number: int, statuses: list[int] = statuses, stop: threading.Event = stop) -> None:
            stop.wait(EVERY_S * number / TABS)  # nobody opens all of them at once
            with requests.Session() as session:
                while not stop.is_set():
                    answer = session.get(f"{url}/windrow/harvest/", cookies={"_token": token}, timeout=60)
                    statuses.append(answer.status_code)
                    stop.wait(EVERY_S)

        with ThreadPoolExecutor(TABS) as pool:
            for number in range(TABS):
                pool.submit(tab, number)
            time.sleep(EVERY_S)
            _line(f"{TABS} tabs, {words}", url, stop.set, statuses)


def _line(what: str, url: str, end: Callable[[], None], statuses: list[int]) -> None:
    took = []
    with requests.Session() as session:
        for _ in range(TRIES):
            began = time.perf_counter()
            session.get(f"{url}/api/v2/monitor/health", timeout=60).raise_for_status()
            took.append(1000 * (time.perf_counter() - began))
            time.sleep(0.05)
    end()
    took.sort()
    bad = sum(one != 200 for one in statuses)
    figures = (statistics.median(took), took[int(len(took) * 0.95)], took[-1])
    print(f"{what:<38}", *(f"{one:>6.1f} ms" for one in figures), f"{len(statuses):>9}{bad:>10}")


if __name__ == "__main__":
    main()
