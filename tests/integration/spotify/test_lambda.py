"""The Lambda function top_tracks: packaged as it is deployed, and run by the local cloud's Lambda."""

import json
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local_cloud import top_tracks
from local_cloud.apis.spotify.catalogue import NEWCOMER, SILENT, make_music
from local_cloud.apis.testing import FakeApi
from local_cloud.errors import LocalCloudError
from local_cloud.settings import Settings
from tests.integration.spotify.conftest import ports_of
from windrow.airflow.hooks.dynamodb import DynamoTable

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "include" / "functions"))

import package_lambda  # noqa: E402

WREN = next(artist for artist in make_music().artists.values() if artist.name == "Wren")


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("package") / "top_tracks.zip"
    package_lambda.write(package_lambda.package("top_tracks"), path)
    return path


@pytest.fixture(scope="module")
def deployed(lake: Settings, quick_clients: None, api_server: FakeApi, archive: Path) -> Any:
    """A client of Lambda with the function. All tests ask one process of it, as Lambda starts none for each request."""
    settings = Settings(root=lake.root, var=lake.var, **ports_of(lake) | {"api_port": api_server.address[1]})
    return top_tracks.deploy(settings, archive)


@pytest.fixture
def ask(deployed: Any, spotify: FakeApi) -> Callable[[object], Any]:
    return lambda event: top_tracks.ask(deployed, event)


def test_the_package_is_small_and_needs_neither_arrow_nor_mongodb(archive: Path):
    names = zipfile.ZipFile(archive).namelist()
    packages = {name.partition("/")[0] for name in names}
    assert {"main.py", "windrow", "aiohttp", "orjson"} <= packages
    assert not {"pyarrow", "pymongo", "airflow", "boto3"} & packages
    assert archive.stat().st_size < 10_000_000
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_same_sources_give_the_same_package(archive: Path):
    """That a zip of the same files is the same has a test of its own."""
    again = [(name, zlib.crc32(content)) for name, content in package_lambda.package("top_tracks").items()]
    assert [(entry.filename, entry.CRC) for entry in zipfile.ZipFile(archive).infolist()] == again


def test_a_package_that_is_not_installed_as_wanted_is_refused():
    with pytest.raises(package_lambda.CannotPackage, match=r"aiohttp .* is installed, but aiohttp==0\.1 is required"):
        package_lambda.vendored(["aiohttp==0.1"])
    with pytest.raises(package_lambda.CannotPackage, match="nothing-of-the-kind is not installed"):
        package_lambda.vendored(["nothing-of-the-kind"])


def test_a_request_becomes_an_item(ask: Callable[[object], Any]):
    answer = ask({"artist": "wren"})
    assert (answer["outcome"], answer["artist_id"]) == ("found", WREN.id)
    item = DynamoTable("aws_default", "top_tracks", key="artist_id").get(WREN.id) or {}
    assert [track["id"] for track in item["tracks"]] == [track.id for track in WREN.top_tracks]
    kept = DynamoTable("aws_default", "artist_requests", key="request").get("wren") or {}
    assert kept["outcome"] == "found"


@pytest.mark.parametrize(
    ("text", "outcome"),
    [("Nobody", "unknown"), ("Echo", "ambiguous"), (f"spotify:album:{'0' * 22}", "refused"), (SILENT, "no_tracks")],
)
def test_a_request_that_gives_no_tracks_says_why(ask: Callable[[object], Any], text: str, outcome: str):
    assert ask({"artist": text})["outcome"] == outcome


def test_a_new_client_id_is_told_the_newest_album(ask: Callable[[object], Any], spotify: FakeApi):
    spotify.request("PUT", "/_admin/spotify", '{"client": "new"}')
    assert ask({"artist": "Wren"})["outcome"] == "found"
    item = DynamoTable("aws_default", "top_tracks", key="artist_id").get(WREN.id) or {}
    assert item["ranked_by"] == "newest_album"


def test_a_newest_album_does_not_replace_top_tracks(ask: Callable[[object], Any], spotify: FakeApi):
    ask({"artist": "Wren"})
    spotify.request("PUT", "/_admin/spotify", json.dumps({"quotas": {"top-tracks": 0}, "retry_after_s": 86_000}))
    assert ask({"artist": "wren "})["outcome"] == "found"
    item = DynamoTable("aws_default", "top_tracks", key="artist_id").get(WREN.id) or {}
    assert item["ranked_by"] == "top_tracks"


def test_a_new_client_id_is_told_of_an_artist_without_albums(ask: Callable[[object], Any], spotify: FakeApi):
    spotify.request("PUT", "/_admin/spotify", '{"client": "new"}')
    answer = ask({"artist": NEWCOMER})
    assert answer["outcome"] == "no_tracks"
    item = DynamoTable("aws_default", "top_tracks", key="artist_id").get(answer["artist_id"]) or {}
    assert (item["tracks"], item["ranked_by"]) == ([], "newest_album")


def test_of_a_batch_the_messages_that_cannot_be_read_stay_in_the_queue(ask: Callable[[object], Any]):
    bodies = {"good": '{"artist": "Wren"}', "text": "no json", "list": "[1]", "unknown": '{"artist": "Nobody"}'}
    bodies |= {"deep": "[" * 100_000, "long": json.dumps({"artist": "x" * 5_000}), "half": '{"artist": "\\ud800"}'}
    records = [{"messageId": name, "body": body} for name, body in bodies.items()]
    failures = ask({"Records": records})["batchItemFailures"]
    assert [failure["itemIdentifier"] for failure in failures] == ["text", "list", "deep", "long", "half"]


def test_what_is_no_request_fails_with_the_reason(ask: Callable[[object], Any]):
    with pytest.raises(LocalCloudError, match="not a request"):
        ask({"singer": "Wren"})


def test_without_a_package_it_says_what_to_do(lake: Settings, tmp_path: Path):
    with pytest.raises(LocalCloudError, match="make lambda"):
        top_tracks.deploy(lake, tmp_path / "none.zip")
