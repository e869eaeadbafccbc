"""The streams against the fake API, through the operators: a quota that closes, premium, and answers used again."""

import json
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred

from local_cloud.apis.spotify.catalogue import make_music
from local_cloud.apis.testing import FakeApi
from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators.harvest import HarvestOperator
from windrow.airflow.operators.plan import PlanOperator
from windrow.model.errors import ConnectionUnusable, CredentialsRejected
from windrow.model.plan import Run

IDS = list(make_music().artists)[:5]


def step(operator: type, dataset: str, **arguments: Any) -> Any:
    with DAG("harvest", schedule=None, params={}):
        return operator(task_id=operator.__name__, dataset=dataset, conn_id="spotify", **arguments)


def harvest(context: dict[str, Any], dataset: str) -> dict[str, Any]:
    step(PlanOperator, dataset, given={"artists": IDS}).execute(context)
    return dict(step(HarvestOperator, dataset).execute(context))


def asked(spotify: FakeApi, path: str) -> int:
    return int(spotify.counters()["routes"][f"GET /spotify/v1{path}"]["requests"])


def test_audio_features_are_planned_from_the_top_tracks_of_the_run(context, spotify: FakeApi):
    harvest(context, "spotify_top_tracks")
    spotify.reset()

    harvest(context, "spotify_audio_features")

    assert asked(spotify, "/artists/{id}/top-tracks") == 0
    assert asked(spotify, "/audio-features") == 1


def test_albums_of_all_pages_are_one_answer(context, spotify: FakeApi):
    spotify.request("PUT", "/_admin/spotify", '{"client": "new"}')
    may = {"batches": False, "top_tracks": False, "audio_features": False}
    many = max(make_music().artists.values(), key=lambda artist: len(artist.albums))
    step(PlanOperator, "spotify_albums", given={"artists": [many.id], "capabilities": may}).execute(context)
    step(HarvestOperator, "spotify_albums").execute(context)

    assert asked(spotify, "/artists/{id}/albums") == 2
    run = Run("spotify_albums", context["run_id"])
    with staging("mongo_default", run.dataset) as state:
        (answer,) = state.answers(state.chunk(run, 0))
    assert sum(len(page["items"]) for page in json.loads(answer.body)) == len(many.albums) > 10


def test_a_batch_that_is_refused_is_replaced_by_single_calls_and_leaves_no_trace(context, spotify: FakeApi):
    spotify.request("PUT", "/_admin/spotify", '{"batches": false}')

    harvest(context, "spotify_artists")

    run = Run("spotify_artists", context["run_id"])
    with staging("mongo_default", run.dataset) as state:
        assert state.quarantined(run) == []
        found = {answer.query.path for answer in state.answers(state.chunk(run, 0))}
    assert found == {f"/artists/{one}" for one in IDS}
    assert asked(spotify, "/artists") == 1


def test_nulls_in_one_answer_do_not_fail_the_features_of_all(context, spotify: FakeApi):
    spotify.request("PUT", "/_admin/spotify", '{"null_items": true}')
    harvest(context, "spotify_top_tracks")

    harvest(context, "spotify_audio_features")

    for dataset in ("spotify_top_tracks", "spotify_audio_features"):
        run = Run(dataset, context["run_id"])
        with staging("mongo_default", dataset) as state:
            assert state.quarantined(run) == []
            assert state.answers(state.chunk(run, 0))


def test_a_closed_endpoint_defers_until_it_opens_and_the_others_go_on(context, spotify: FakeApi):
    spotify.request("PUT", "/_admin/spotify", json.dumps({"quotas": {"artist-albums": 2}, "retry_after_s": 86_000}))

    with pytest.raises(TaskDeferred) as deferred:
        harvest(context, "spotify_albums")
    left_s = (deferred.value.trigger.moment - context["dag_run"].run_after).total_seconds()
    assert 85_900 < left_s < 86_100
    assert harvest(context, "spotify_top_tracks")["answered"] == len(IDS)

    calls = asked(spotify, "/artists/{id}/albums")
    with pytest.raises(TaskDeferred):  # another run knows it without a call
        harvest(dict(context, run_id="another"), "spotify_albums")
    assert asked(spotify, "/artists/{id}/albums") == calls


def test_an_account_without_premium_is_told_in_the_apis_own_words(context, spotify: FakeApi):
    spotify.request("PUT", "/_admin/spotify", '{"premium": false}')
    with pytest.raises(CredentialsRejected, match="Active premium subscription required"):
        harvest(context, "spotify_artists")
    assert spotify.counters()["totals"]["requests"] <= 16  # one for each connection, and none again


@pytest.mark.parametrize(("auth", "error"), [("form", CredentialsRejected), ("digest", ConnectionUnusable)])
def test_spotify_takes_basic_credentials_only(context, spotify: FakeApi, monkeypatch, auth: str, error: type):
    extra = {"token_path": f"{spotify.url}/spotify/api/token", "token_auth": auth}
    connection = {"conn_type": "http", "host": f"{spotify.url}/spotify/v1", "login": "windrow-demo"}
    connection |= {"password": "windrow-demo-secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SPOTIFY", json.dumps(connection))
    with pytest.raises(error):
        harvest(context, "spotify_artists")
