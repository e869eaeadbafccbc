"""The Spotify DAGs on the local cloud with a real Airflow: every day, at once by message, and their parity.

The tests run in the order of this file: each goes on with what those before it have left.
"""

import json
import os
import time
import urllib.parse
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
import requests

from local_cloud import airflow_env, aws_resources
from local_cloud.apis.spotify.catalogue import SILENT, make_music
from local_cloud.settings import ARTIST_QUEUE, LAKE
from tests.e2e.system import PATIENCE_S, System
from windrow.airflow.hooks.athena import Athena

LIMIT_S = 600
MUSIC = make_music()
KNOWN = list(MUSIC.artists.values())[: airflow_env.KNOWN_ARTISTS]
BY_NAME = {artist.name: artist for artist in MUSIC.artists.values()}


class Spotify(System):
    """The system, as the Spotify DAGs and the chatbot see it."""

    def aws(self, service: str) -> Any:
        return aws_resources.client(self.settings, service)

    def switch(self, **changes: Any) -> None:
        """Have these switches of the fake Spotify and no others."""
        url = f"{self.settings.api_url}/_admin/spotify"
        requests.delete(url, timeout=10).raise_for_status()
        requests.put(url, json=changes, timeout=10).raise_for_status()

    def run(self, dag_id: str, **conf: Any) -> tuple[str, str]:
        """Trigger a run and wait for its end: its id and state."""
        run_id = self.airflow.trigger(dag_id, conf)
        return run_id, self.airflow.wait(dag_id, run_id, limit_s=LIMIT_S)

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        return list(self.airflow.call("GET", f"/dags/{dag_id}/dagRuns")["dag_runs"])

    def returned(self, dag_id: str, run_id: str, task_id: str) -> Any:
        run = urllib.parse.quote(run_id)
        path = f"/dags/{dag_id}/dagRuns/{run}/taskInstances/{task_id}/xcomEntries/return_value?deserialize=true"
        return self.airflow.call("GET", path)["value"]

    def send(self, *bodies: str) -> None:
        queue = self.aws("sqs").get_queue_url(QueueName=ARTIST_QUEUE)["QueueUrl"]
        for body in bodies:
            self.aws("sqs").send_message(QueueUrl=queue, MessageBody=body)

    def waiting(self, name: str) -> int:
        """Messages in a queue, handed out or not."""
        sqs = self.aws("sqs")
        counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        queue = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=counts)["Attributes"]
        return sum(int(found[count]) for count in counts)

    def bodies(self, name: str) -> set[str]:
        """What the messages of a queue say, at most ten of them."""
        sqs = self.aws("sqs")
        queue = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
        return {message["Body"] for message in received.get("Messages", [])}

    def told(self) -> dict[str, list[str]]:
        """The ids of the tracks that the chatbot is told, by artist."""
        return {
            item["artist_id"]["S"]: [track["M"]["id"]["S"] for track in item["tracks"]["L"]]
            for item in self.aws("dynamodb").scan(TableName="top_tracks")["Items"]
        }

    def items(self) -> list[dict[str, Any]]:
        """What the chatbot is told, whole."""
        found = self.aws("dynamodb").scan(TableName="top_tracks")["Items"]
        return sorted(found, key=lambda item: str(item["artist_id"]["S"]))

    def table(self, name: str) -> list[dict[str, str | None]]:
        """The rows of a table of Athena, sorted."""
        with patch.dict(os.environ, airflow_env.airflow_environment(self.settings, {})):
            found = list(Athena("aws_default", f"s3://{LAKE}/e2e-results/").ask(f"SELECT * FROM {name}"))  # noqa: S608
        return sorted(found, key=str)

    def clear_alone(self, dag_id: str, run_id: str, *task_ids: str) -> None:
        """Clear these tasks and none that follow from them."""
        body = {"dag_run_id": run_id, "task_ids": task_ids, "include_downstream": False, "only_failed": False}
        self.airflow.call("POST", f"/dags/{dag_id}/clearTaskInstances", body | {"dry_run": False})

    def outcomes(self) -> dict[str, str]:
        found = self.aws("dynamodb").scan(TableName="artist_requests")["Items"]
        return {item["request"]["S"]: item["outcome"]["S"] for item in found}


@pytest.fixture(scope="module")
def spotify(system: System) -> Spotify:
    own = Spotify(**vars(system.of("spotify")))
    own.reset()
    return own


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not after {LIMIT_S} s: {what}"
        time.sleep(0.5)


def tracks_of(*names: str) -> dict[str, list[str]]:
    return {BY_NAME[name].id: [track.id for track in BY_NAME[name].top_tracks] for name in names}


def test_the_known_artists_reach_the_chatbot_and_every_count_agrees(spotify: Spotify):
    run_id, state = spotify.run("spotify_artists")

    assert state == "success", [name for name, task in spotify.airflow.tasks("spotify_artists", run_id).items()
                                if task["state"] == "failed"]  # fmt: skip
    assert spotify.told() == tracks_of(*(artist.name for artist in KNOWN))
    receipts = {name: spotify.returned("spotify_artists", run_id, f"prove_{name}")
                for name in ("artists", "albums", "top_tracks", "audio_features")}  # fmt: skip
    assert all(receipt["agrees"] for receipt in receipts.values())
    assert receipts["artists"]["loaded"] == len(KNOWN)
    assert receipts["albums"]["loaded"] == sum(len(artist.albums) for artist in KNOWN)
    assert receipts["top_tracks"]["loaded"] == sum(len(artist.top_tracks) for artist in KNOWN)
    assert receipts["top_tracks"]["dynamodb_written"] == len(KNOWN)
    featured = {track.id for artist in KNOWN for track in artist.top_tracks if track.features}
    assert receipts["audio_features"]["loaded"] == len(featured)


def test_both_warehouses_agree_on_what_landed(spotify: Spotify):
    until(lambda: bool(spotify.runs("spotify_parity")), "the parity is started by the event of the run before")
    (run,) = spotify.runs("spotify_parity")
    assert spotify.airflow.wait("spotify_parity", run["dag_run_id"], limit_s=LIMIT_S) == "success"

    (row,) = spotify.returned("spotify_parity", run["dag_run_id"], "compare_metrics")
    assert row["artists"] == str(len(KNOWN))
    assert row["followers"] == str(sum(artist.followers for artist in KNOWN))


WRITERS = ("artists.land", "top_tracks.land", "top_tracks.register", "artist_days", "top_tracks_table.build", "publish")


@pytest.mark.parametrize("task_ids", [(), WRITERS], ids=["all", "writers_alone"])
def test_cleared_tasks_give_the_same_rows(spotify: Spotify, task_ids: tuple[str, ...]):
    (run,) = spotify.runs("spotify_artists")
    run_id = run["dag_run_id"]

    def state() -> list[Any]:
        return [spotify.items(), *map(spotify.table, ("spotify.top_tracks", "spotify.artist_days"))]

    before = state()
    assert [len(rows) for rows in before] == [len(KNOWN), sum(len(one.top_tracks) for one in KNOWN), len(KNOWN)]

    spotify.clear_alone("spotify_artists", run_id, *(task_ids or spotify.airflow.tasks("spotify_artists", run_id)))

    assert spotify.airflow.wait("spotify_artists", run_id, limit_s=LIMIT_S) == "success"
    assert state() == before
    built = spotify.aws("s3").list_objects_v2(Bucket=LAKE, Prefix="marts/spotify/top_tracks/")["Contents"]
    assert len(built) == 1
    assert spotify.returned("spotify_artists", run_id, "prove_top_tracks")["agrees"]


def test_messages_are_answered_each_in_its_way(spotify: Spotify):
    wanted = ["Wren", " wren", SILENT, "Echo", "Nobody At All"]
    spotify.send(*(json.dumps({"artist": name}) for name in wanted), "no json")

    until(lambda: len(spotify.outcomes()) == 4 and "taken" not in spotify.outcomes().values(), "all are settled")

    assert spotify.outcomes() == {
        "wren": "found", SILENT.casefold(): "no_tracks", "echo": "ambiguous", "nobody at all": "unknown"
    }  # fmt: skip
    assert spotify.told() == tracks_of(*(artist.name for artist in KNOWN), "Wren", SILENT)
    until(lambda: spotify.waiting(ARTIST_QUEUE) == 0, "the queue is empty")
    assert spotify.waiting(f"{ARTIST_QUEUE}-dead") == 1, "once, and no request that was answered"
    assert spotify.bodies(f"{ARTIST_QUEUE}-dead") == {"no json"}
    until(lambda: all(run["state"] == "success" for run in spotify.runs("spotify_new_artist")), "all runs end green")
    runs = [run["dag_run_id"] for run in spotify.runs("spotify_new_artist")]
    proved = [one for one in runs if spotify.airflow.tasks("spotify_new_artist", one)["prove"]["state"] == "success"]
    receipts = [spotify.returned("spotify_new_artist", run_id, "prove") for run_id in proved]
    assert all(receipt["agrees"] and receipt["seconds_to_dynamodb"] > 0 for receipt in receipts)


def test_a_closed_quota_defers_its_stream_alone_and_a_name_of_nobody_holds_up_none(spotify: Spotify):
    spotify.switch(quotas={"artist-albums": 1}, retry_after_s=6 * PATIENCE_S)

    run_id, state = spotify.run("spotify_artists", artists=["Wren", "Nobody At All", "Queue"], client="legacy")

    tasks = spotify.airflow.tasks("spotify_artists", run_id)
    assert (state, [name for name, task in tasks.items() if task["state"] == "failed"]) == (
        "failed",
        ["require_all_names"],
    )
    assert tasks["require_all_names"]["try_number"] == 1
    assert tasks["albums.harvest"]["try_number"] == 1
    assert tasks["publish"]["end_date"] < tasks["albums.harvest"]["end_date"], "the chatbot waited for the albums"
    assert tasks["audio_features.plan"]["state"] == "skipped"
    assert spotify.returned("spotify_artists", run_id, "prove_albums")["agrees"]
    spotify.switch()
