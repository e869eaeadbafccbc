"""spotify_artists in this process, from the fake API to Athena and DynamoDB: what needs no scheduler to be seen."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from local_cloud import airflow_env, aws_resources
from local_cloud.apis.spotify.catalogue import make_music
from local_cloud.settings import LAKE, Settings
from tests.dag_run import DagRun, load
from windrow.airflow.hooks.athena import Athena

DAG = Path(__file__).resolve().parents[3] / "dags" / "spotify_artists.py"
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
KNOWN = list(make_music().artists.values())[: airflow_env.KNOWN_ARTISTS]
WRITERS = ("artists.land", "top_tracks.land", "top_tracks.register", "artist_days", "top_tracks_table.build", "publish")


@pytest.fixture(scope="module")
def run() -> DagRun:
    """The run of the first test, which the next one clears."""
    return DagRun(load(DAG).spotify_artists(), "known", at=AT)


def items(dynamodb: Any) -> list[dict[str, Any]]:
    """What the chatbot is told, whole."""
    found = dynamodb.scan(TableName="top_tracks")["Items"]
    return sorted(found, key=lambda item: str(item["artist_id"]["S"]))


def table(name: str) -> list[dict[str, str | None]]:
    """The rows of a table of Athena, sorted."""
    found = list(Athena("aws_default", f"s3://{LAKE}/results/").ask(f"SELECT * FROM {name}"))  # noqa: S608
    return sorted(found, key=str)


def test_the_known_artists_reach_the_chatbot_and_cleared_tasks_give_the_same_rows(run, dynamodb, lake: Settings):
    results = run.run()

    assert run.skipped == {"crawl"}
    told = {
        item["artist_id"]["S"]: [track["M"]["id"]["S"] for track in item["tracks"]["L"]] for item in items(dynamodb)
    }
    assert told == {artist.id: [track.id for track in artist.top_tracks] for artist in KNOWN}
    receipts = {name: results[f"prove_{name}"] for name in ("artists", "albums", "top_tracks", "audio_features")}
    assert all(receipt["agrees"] for receipt in receipts.values())
    tracks = [track for artist in KNOWN for track in artist.top_tracks]
    assert {name: receipt["loaded"] for name, receipt in receipts.items()} == {
        "artists": len(KNOWN),
        "albums": sum(len(artist.albums) for artist in KNOWN),
        "top_tracks": len(tracks),
        "audio_features": len({track.id for track in tracks if track.features}),
    }
    assert receipts["top_tracks"]["dynamodb_written"] == len(KNOWN)

    def state() -> list[Any]:
        return [items(dynamodb), *map(table, ("spotify.top_tracks", "spotify.artist_days"))]

    before = state()
    assert [len(found) for found in before] == [len(KNOWN), len(tracks), len(KNOWN)]
    run.run(*WRITERS)
    assert state() == before
    assert run.run()["prove_top_tracks"]["agrees"]
    assert state() == before
    built = aws_resources.client(lake, "s3").list_objects_v2(Bucket=LAKE, Prefix="marts/spotify/top_tracks/")
    assert len(built["Contents"]) == 1
