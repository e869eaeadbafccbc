"""Who sees what and who may act, with the roles of the FAB auth manager instead of the simple one's."""

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from airflow import settings as airflow_settings
from pymongo import MongoClient

from local_cloud.settings import Settings
from tests.shared_cloud import SharedCloud
from tests.ui.harvest_server import ROLES, Harvests, airflow_database, fill, run_id, serving, write_actions_dag
from tests.ui.test_harvest import FORMS, PAGES, READING, RUN, WITH_ACTIONS, get, routes, terminal
from windrow.store.staging import Staging

OWN = "harvest_actions__shop"
TEAM = {
    ("can_read", "DAG:shop"),
    ("can_edit", "DAG:shop"),
    ("can_read", f"DAG:{OWN}"),
    ("can_edit", f"DAG:{OWN}"),
    *((action, "DAG Runs") for action in ("can_read", "can_create")),
}
"""The permissions of a team: its own DAG, and the actions on it."""


def fab_tokens(manager: Any) -> dict[str, str]:
    """Make a user of each role, and of a team that may read one DAG alone; return their tokens."""
    manager.get_fastapi_app()
    manager.init_flask_resources()
    with manager.flask_app.app_context():
        roles = {role: manager.security_manager.find_role(role.capitalize()) for role in ROLES}
        roles["team"] = team = manager.security_manager.add_role("team")
        for action, resource in TEAM:
            permission = manager.security_manager.create_permission(action, resource)
            manager.security_manager.add_permission_to_role(team, permission)
        tokens = {}
        for name, role in roles.items():
            user = manager.security_manager.add_user(name, name, name, f"{name}@example.com", role, password=name)
            tokens[name] = manager.generate_jwt(user)
        return tokens


@pytest.fixture(scope="session")
def cloud(shared: SharedCloud) -> Settings:
    return shared.need("mongo")


@pytest.fixture(scope="module")
def harvests(cloud: Settings, mongo: MongoClient[dict[str, Any]]) -> Iterator[Harvests]:
    database = f"test_{uuid.uuid4().hex}"
    with pytest.MonkeyPatch.context() as patch:
        manager = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
        patch.setenv("AIRFLOW__CORE__AUTH_MANAGER", manager)
        patch.setenv("AIRFLOW__API__SECRET_KEY", "a secret of these tests")
        from airflow.providers.fab.auth_manager.models import Model

        with airflow_database():
            Model.metadata.create_all(airflow_settings.engine)
            fill(Staging(mongo, database))
            write_actions_dag("shop")
            with serving(cloud, database, fab_tokens) as served:
                yield served
    mongo.drop_database(database)


def test_no_route_is_open_and_the_roles_that_may_read_dags_see_the_pages(harvests: Harvests) -> None:
    params = {"stream": "shop_orders", "name": "shop_orders", "id": run_id(0), "of": "gap"}
    for route in routes():
        path = f"..{route.path.replace('{name}', 'x_posts')}"
        assert get(harvests, path, None, params=params).status_code == 401, f"{path} is public"
        assert get(harvests, path, "forged", params=params).status_code == 403, path
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert get(harvests, path, "admin", params=params, method=method).status_code == 405, f"{method} {path}"
    for role in ROLES:
        for path, told in PAGES.items():
            answer = get(harvests, path, role)
            assert (answer.status_code, told.replace("'", "&#39;") in answer.text) == (200, True), (role, path)
            assert "hushhush" not in answer.text
        assert ("client-7" in get(harvests, "limits", role).text) == (role in {"op", "admin"}), role


@pytest.mark.parametrize("role", [*ROLES, "team"])
def test_the_navigation_and_boards_need_the_permission_to_read_plugins(harvests: Harvests, role: str) -> None:
    """Airflow asks this route for the entries of its navigation."""
    expected = 200 if role in {"op", "admin"} else 403
    assert get(harvests, "../../api/v2/plugins", role).status_code == expected
    assert get(harvests, "../boards/x_posts/", role).status_code == expected


@pytest.mark.parametrize("role", ROLES)
def test_only_who_may_trigger_the_dag_of_actions_acts(harvests: Harvests, role: str) -> None:
    may = role != "viewer"
    for path in WITH_ACTIONS:
        assert ('class="act"' in get(harvests, path, role).text) == may, path
    for path in FORMS:
        assert get(harvests, path, role).status_code == (200 if may else 403), path
    assert [trigger(harvests, role, dag).status_code for dag in ("harvest_actions", OWN)] == [200 if may else 403] * 2


def test_a_team_sees_its_own_dag_and_acts_on_it_alone(harvests: Harvests) -> None:
    for path in PAGES:
        answer = get(harvests, path, "team")
        seen = re.sub(r'value="[^"]*"|<p class="cause[^"]*">.*?</p>', "", answer.text)  # what was asked for
        assert not re.search("spotify|github|youtube|titanic|x_posts", seen), path
    for do in ("replay", "accept_gap", "undo_gap"):
        assert f'data-dag="{OWN}"' in get(harvests, f"action?do={do}&stream=shop_orders&id={RUN}", "team").text
    for path in FORMS:
        assert get(harvests, path, "team").status_code == 403, path
    assert [trigger(harvests, "team", dag).status_code for dag in ("harvest_actions", OWN)] == [403, 200]


@pytest.mark.parametrize("arguments", ["status", "why titanic_passengers", "limits", "find artists?id=3"])
def test_the_terminal_reads_what_the_user_sees(harvests: Harvests, arguments: str) -> None:
    code, told = READING[arguments]
    found, text = terminal(harvests, arguments, "viewer")
    assert (found, told in text, "client-7" in text) == (code, True, False), text
    assert not re.search("spotify|github|titanic_", terminal(harvests, arguments, "team")[1].partition("'")[0])


def trigger(harvests: Harvests, role: str, dag_id: str) -> requests.Response:
    body = {"logical_date": None, "conf": {"action": "undo_gap", "stream": "shop_orders", "run": run_id(0)}}
    return get(harvests, f"../../api/v2/dags/{dag_id}/dagRuns", role, method="POST", json=body)
