"""Who a run of every day is about: names, ids and addresses, and names that mean nobody."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred

from local_cloud.apis.spotify.catalogue import make_music
from local_cloud.apis.testing import FakeApi
from windrow.airflow.hooks.dynamodb import DynamoTable
from windrow.airflow.hooks.staging import staging
from windrow.model.errors import BadParameter, Unusable
from windrow.model.plan import Run
from windrow.model.policy import Backoff
from windrow.sources.spotify.known_artists import KnownArtistsOperator, RequireAllNamesOperator
from windrow.store.quarantine import LOOK_UP

BY_NAME = {artist.name: artist.id for artist in make_music().artists.values()}


def known(context: dict[str, Any], *artists: str) -> dict[str, Any]:
    with DAG("known", schedule=None, params={"artists": None}):
        step = KnownArtistsOperator(
            task_id="resolve_artists", dataset="spotify_artists", conn_id="spotify", variable="artists"
        )
    return dict(step.execute(context | {"params": {"artists": list(artists)}}))


def require_all(unmet: dict[str, str]) -> None:
    RequireAllNamesOperator(task_id="require_all_names", unmet=unmet).execute({})


def test_those_of_the_variable_and_those_that_were_asked_for(context, spotify: FakeApi, monkeypatch):
    wren, queue = BY_NAME["Wren"], BY_NAME["Queue"]
    monkeypatch.setenv("AIRFLOW_VAR_ARTISTS", json.dumps(["Wren", f"spotify:artist:{queue}", "wren"]))
    DynamoTable("aws_default", "top_tracks", key="artist_id").put([{"artist_id": "0" * 22, "fetched_at": "2026"}])

    assert known(context) == {"artists": [wren, queue, "0" * 22], "unmet": {}}
    assert spotify.counters()["routes"]["GET /spotify/v1/search"]["requests"] == 2


def test_those_of_the_param_alone_and_no_call_for_an_id(context, spotify: FakeApi, monkeypatch):
    monkeypatch.setenv("AIRFLOW_VAR_ARTISTS", '["Wren"]')
    assert known(context, BY_NAME["Queue"]) == {"artists": [BY_NAME["Queue"]], "unmet": {}}
    assert spotify.counters()["totals"]["requests"] == 0


def test_a_name_that_means_nobody_or_several_holds_up_nobody_else(context):
    found = known(context, "Nobody At All", "Wren", "Echo")

    assert found["artists"] == [BY_NAME["Wren"]]
    assert list(found["unmet"]) == ["Nobody At All", "Echo"]
    with pytest.raises(BadParameter) as all_of_them:
        require_all(found["unmet"])
    assert "2 of the artists are omitted" in str(all_of_them.value)
    assert "no artist named 'Nobody At All'" in str(all_of_them.value)
    assert "2 artists named 'Echo'" in str(all_of_them.value)
    assert str(all_of_them.value).count("What to do") == 1
    require_all({})


def test_names_that_mean_nobody_at_all_end_the_run(context):
    with pytest.raises(BadParameter, match="'Nobody At All'") as nobody:
        known(context, "Nobody At All")
    assert "Nothing was harvested" in str(nobody.value)


@pytest.mark.parametrize("variable", ['"Wren"', "[1]", f'["Wren", "spotify:album:{"1" * 22}"]', '["Wren", ""]'])
def test_a_variable_that_cannot_be_meant_is_refused_before_any_call(context, spotify: FakeApi, monkeypatch, variable):
    monkeypatch.setenv("AIRFLOW_VAR_ARTISTS", variable)
    with pytest.raises(BadParameter):
        known(context)
    assert spotify.counters()["totals"]["requests"] == 0


def test_a_param_that_nobody_knows_is_refused_before_any_call(context, spotify: FakeApi):
    context["dag_run"] = SimpleNamespace(conf={"artist": "Wren"})
    with pytest.raises(BadParameter, match=r"'artist' is unknown\. Was 'artists' meant"):
        known(context, "Wren")
    assert spotify.counters()["totals"]["requests"] == 0


def test_while_the_search_is_closed_the_task_waits_without_a_slot(context, spotify: FakeApi):
    spotify.request("PUT", "/_admin/spotify", json.dumps({"quotas": {"search": 0}, "retry_after_s": 600}))
    with pytest.raises(TaskDeferred):
        known(context, "Wren")


@pytest.mark.parametrize(("fault", "said"), [(403, "HTTP 403"), ("malformed", "cannot be read: invalid JSON")])
def test_a_name_that_the_api_does_not_answer_for_holds_up_nobody_else(
    context, spotify: FakeApi, monkeypatch: pytest.MonkeyPatch, fault, said
):
    monkeypatch.setattr(Backoff, "pause_s", lambda *_: 0.01)  # else its attempts take fifteen seconds
    spotify.request("PUT", "/_admin/faults", json.dumps({"sticky": {'artist:"Wren"': fault}}))
    found = known(context, "Wren", "Queue")
    assert (found["artists"], list(found["unmet"])) == ([BY_NAME["Queue"]], ["Wren"])
    run = Run("spotify_artists", context["run_id"])
    with staging("mongo_default", run.dataset) as state:
        [(number, kept)] = state.quarantined(run)
    assert (number, kept.query.path) == (LOOK_UP, "/search")
    with pytest.raises(BadParameter, match=said):
        require_all(found["unmet"])
    with pytest.raises(Unusable, match=said):
        known(context, "Wren")
