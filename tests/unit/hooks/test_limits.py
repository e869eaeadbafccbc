"""Quotas and credentials, as the page Limits shows them."""

import json
from datetime import UTC, datetime

import pytest

from windrow.airflow.hooks.limits import read_limits
from windrow.harvest.status.snapshot import Snapshot
from windrow.harvest.status.stream import Health, Stream
from windrow.store.reports import QuotaUse


def test_a_stream_that_uses_a_quota_by_two_connections_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC).isoformat()
    connections = ("youtube", "youtube_analytics")
    for conn_id in connections:
        connection = {"conn_type": "http", "host": "https://api.example.com", "login": "shop"}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    stream = Stream("youtube_video_days", ("youtube_analytics",), Health.COMPLETE, "", (), connections)
    use = QuotaUse("shop", "youtube.data", 5, now, closed=False)

    (quota,), credentials = read_limits(Snapshot(now, (stream,), quotas=(use,)), lambda _: True)

    assert (quota.account, quota.taken, quota.streams) == ("shop", 5, ("youtube_video_days",))
    assert [one.conn_id for one in credentials] == [*connections]
