"""Metrics of harvests reach an OpenTelemetry collector through Airflow's own configuration."""

import atexit
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml
from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.sdk._shared.observability.metrics.otel_logger import flush_otel_metrics
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import otel_logger
from opentelemetry import metrics as otel
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from windrow.airflow import metrics
from windrow.airflow.hooks.limits import Credential, Quotas
from windrow.harvest.status.interval import Counts, Interval, State, iso
from windrow.harvest.status.snapshot import Snapshot
from windrow.harvest.status.stream import Health, Stream
from windrow.store.reports import Reason
from windrow.store.summary import Summary

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
RULES = Path(__file__).resolve().parents[3] / "deploy/prometheus/rules.yaml"


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[tuple[str, str], float]]:
    """A collector on this machine; what it received at the end of the block, by metric and tags."""
    found: dict[tuple[str, str], float] = {}

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for metric in (one for scope in resource.scope_metrics for one in scope.metrics):
                    kind = getattr(metric, metric.WhichOneof("data"))
                    for point in kind.data_points:
                        tags = ",".join(f"{tag.key}={tag.value.string_value}" for tag in point.attributes)
                        value = (
                            getattr(point, "sum", 0) or getattr(point, "as_double", 0) or getattr(point, "as_int", 0)
                        )
                        found[metric.name, tags] = value
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"http://127.0.0.1:{server.server_port}/v1/metrics")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        stats.initialize(factory=otel_logger.get_otel_logger, export_legacy_names=False)
        yield found
        atexit.unregister(flush_otel_metrics)  # the collector is gone when the process ends
        otel.get_meter_provider().shutdown()  # type: ignore[attr-defined]
        stats.initialize(factory=NoStatsLogger, export_legacy_names=False)
        server.shutdown()


def send() -> None:
    otel.get_meter_provider().force_flush()  # type: ignore[attr-defined]


def test_what_a_harvest_did_is_counted(received: dict[tuple[str, str], float]) -> None:
    figures = {"sent": 12, "answered": 9, "gaps": 1, "rejected": 0, "seconds": 2.5, "stopped_by": "RateLimited"}
    metrics.count("shop_orders", figures)
    metrics.count("shop_orders", figures | {"sent": 3, "stopped_by": None})
    send()

    of = "stream=shop_orders"
    assert received == {
        ("airflow.windrow.calls", of): 15,
        ("airflow.windrow.answered", of): 18,
        ("airflow.windrow.gaps", of): 2,
        ("airflow.windrow.stopped", f"{of},reason=RateLimited"): 1,
        ("airflow.windrow.harvest_seconds", of): 5_000,  # Airflow sends milliseconds
    }


def test_the_watch_sets_gauges(received: dict[tuple[str, str], float]) -> None:
    summary = Summary("shop_orders", "r", planned=10, done=7)
    interval = Interval("shop_orders", "shop", "r", iso(NOW), State.INCOMPLETE, "why", Counts(), summary)
    streams = (
        Stream("shop_orders", ("shop",), Health.INCOMPLETE, "why", (interval,), newest=iso(NOW - timedelta(hours=1))),
        Stream("shop_items", ("shop",), Health.NEW, "why", (), newest="order-4711"),
    )
    reasons = tuple(Reason("shop_orders", "r", reason, 200, 2, iso(NOW), iso(NOW)) for reason in ("a", "b"))
    quotas = [
        Quotas("units", "me", 30, 100, iso(NOW), closed=False, streams=("shop_orders",)),
        Quotas("unknown", "me", 30, None, iso(NOW), closed=False, streams=()),
    ]
    credentials = [
        Credential("shop_api", (), "me", "token", 0, 12),
        Credential("other_api", (), "me", "token", 0, None),
    ]
    metrics.set_gauges(Snapshot(iso(NOW), streams=streams, reasons=reasons), quotas, credentials, NOW)
    send()

    assert received == {
        ("airflow.windrow.open_calls", "stream=shop_orders"): 3,
        ("airflow.windrow.quarantined", "stream=shop_orders"): 4,
        ("airflow.windrow.quarantined", "stream=shop_items"): 0,
        ("airflow.windrow.data_age_seconds", "stream=shop_orders"): 3600,
        ("airflow.windrow.quota_left", "quota=units"): 70,
        ("airflow.windrow.credential_days", "conn_id=shop_api"): 12,
    }


def test_the_rules_for_prometheus_use_metrics_that_are_sent() -> None:
    """A collector replaces dots by underscores, and adds `_total` to counters."""
    sent = {name.replace(".", "_") for name in re.findall(r"``(windrow\.\w+)``", metrics.__doc__ or "")}
    sent |= {f"windrow_{name}_total" for name in (*metrics.COUNTERS.values(), "stopped")}
    rules = [rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]
    assert len(rules) > 4
    for rule in rules:
        used = set(re.findall(r"airflow_(windrow_\w+)", rule["expr"]))
        assert used
        assert used <= sent
