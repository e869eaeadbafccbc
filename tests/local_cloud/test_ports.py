import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cloud import ports
from local_cloud.errors import PortTaken
from local_cloud.services import select, table
from local_cloud.testing import free_settings, running


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that this very process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_free_ports_pass(tmp_path: Path) -> None:
    ports.check_free(table(free_settings(tmp_path / "var"), {}))


def test_a_taken_port_names_service_port_variable_and_holder(tmp_path: Path, taken: int) -> None:
    settings = free_settings(tmp_path / "var", bigquery_grpc_port=taken)

    with pytest.raises(PortTaken) as caught:
        ports.check_free(select(table(settings, {}), {"gcs", "bigquery"}))

    message = str(caught.value)
    assert message.startswith(f"bigquery needs port {taken}, which is in use by process {os.getpid()} (")
    assert "set WINDROW_BIGQUERY_GRPC_PORT in .env" in message


def test_a_listener_on_every_address_counts_too(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104 - that is the case
        settings = free_settings(tmp_path / "var", redis_port=server.getsockname()[1])

        with pytest.raises(PortTaken, match="redis needs port"):
            ports.check_free(table(settings, {}))


def test_nothing_is_started_when_a_port_is_taken(tmp_path: Path, taken: int) -> None:
    var = tmp_path / "var"

    with pytest.raises(PortTaken), running({"mongo", "redis"}, var, redis_port=taken):
        pass

    assert not (var / "log").exists()


def test_found_ports_differ() -> None:
    found = ports.find_free(20)

    assert len(set(found)) == 20
