"""docker-compose.yaml and deploy/Dockerfile: all that can be known of them without a container engine."""

import copy
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from airflow.configuration import conf
from airflow.providers.mongo.hooks.mongo import MongoHook
from airflow.providers_manager import ProvidersManager
from celery import Celery
from check_jsonschema import main as check_jsonschema
from click.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yaml"
HOME = PurePosixPath("/opt/airflow")

Compose = dict[str, Any]
COMPLETED, HEALTHY = "service_completed_successfully", "service_healthy"


@pytest.fixture
def compose() -> Compose:
    return copy.deepcopy(yaml.safe_load(COMPOSE.read_text(encoding="utf-8")))


# --- the specification -------------------------------------------------------------------------


def test_it_follows_the_compose_specification() -> None:
    assert "ok -- validation done" in check(COMPOSE)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("healthcheck:", "helthcheck:"),
        ("condition: service_healthy", "condition: service_fine"),
        ("retries: 12", "retries: [12]"),
    ],
)
def test_the_check_refuses_a_broken_copy(tmp_path: Path, right: str, wrong: str) -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    assert right in text
    (tmp_path / COMPOSE.name).write_text(text.replace(right, wrong, 1), encoding="utf-8")

    assert "Schema validation errors were encountered." in check(tmp_path / COMPOSE.name)


def check(path: Path) -> str:
    """Validate against the schema that check-jsonschema carries, so without a network; return what it says."""
    return CliRunner().invoke(check_jsonschema, ["--builtin-schema", "vendor.compose-spec", str(path)]).output


# --- what the specification leaves open --------------------------------------------------------


def findings(compose: Compose) -> list[str]:
    """Return what is wrong with the services."""
    services = compose["services"]
    rules = (_health, _waits, _ports, _image, _secrets, _mounts)
    return [f"{name}: {finding}" for rule in rules for name in services for finding in rule(name, services)]


def _runs_once(service: Compose) -> bool:
    return service.get("restart") == "no" and "healthcheck" not in service


def _health(name: str, services: Compose) -> Iterator[str]:
    service = services[name]
    waited_for = any(
        other.get("depends_on", {}).get(name, {}).get("condition") == COMPLETED for other in services.values()
    )
    if "healthcheck" not in service and not (_runs_once(service) and waited_for):
        yield "has no health check, and nobody waits for its end"
    if "healthcheck" in service and service.get("restart") != "unless-stopped":
        yield "is not started again when it ends"


def _waits(name: str, services: Compose) -> Iterator[str]:
    for other, wait in services[name].get("depends_on", {}).items():
        right = COMPLETED if _runs_once(services[other]) else HEALTHY
        if wait.get("condition") != right:
            yield f"waits for {other} to be {wait.get('condition')}, which should be {right}"


def _ports(name: str, services: Compose) -> Iterator[str]:
    if "network_mode" in services[name]:
        yield "leaves the network of compose"
    for port in services[name].get("ports", ()):
        if not str(port).startswith("127.0.0.1:"):
            yield f"publishes {port} beyond this machine"


def _image(name: str, services: Compose) -> Iterator[str]:
    tag = services[name].get("image", "").partition(":")[2]
    if not re.match(r"\d+(\.\d+)*(-|$)", tag):
        yield f"runs an image of the version {tag!r}"


def _secrets(name: str, services: Compose) -> Iterator[str]:
    for variable, value in services[name].get("environment", {}).items():
        if value is None:  # passed on as .env has it
            continue
        if re.search(r"(PASSWORD|SECRET|KEY|TOKEN)$", variable) and not re.fullmatch(r"\$\{\w+(:\?[^}]+)?\}", value):
            yield f"{variable} is not out of .env"
    for password in re.findall(r"://[^/\s:]*:([^@\s]+)@", str(services[name])):
        if not re.fullmatch(r"\$\{\w+(:\?[^}]+)?\}", password):
            yield "holds a password in a URL"


def _mounts(name: str, services: Compose) -> Iterator[str]:
    for mount in services[name].get("volumes", ()):
        if mount.startswith((".", "/")) and not mount.endswith(":ro"):
            yield f"may write to {mount}"


def test_the_services_are_as_they_should_be(compose: Compose) -> None:
    assert findings(compose) == []


BREAKS: list[tuple[str, Callable[[Compose], object]]] = [
    ("valkey: has no health check", lambda s: s["valkey"].pop("healthcheck")),
    (
        "mongo-init: has no health check",
        lambda s: [s[name]["depends_on"].pop("mongo-init") for name in ("airflow-worker", "x-publisher")],
    ),
    ("mongo: is not started again", lambda s: s["mongo"].pop("restart")),
    ("mongo-init: waits for mongo", lambda s: s["mongo-init"]["depends_on"].update(mongo={"condition": COMPLETED})),
    ("airflow-init: waits for postgres", lambda s: s["airflow-init"]["depends_on"].update(postgres={})),
    ("postgres: publishes 5432:5432", lambda s: s["postgres"].update(ports=["5432:5432"])),
    ("postgres: publishes 0.0.0.0", lambda s: s["postgres"].update(ports=["0.0.0.0:5432:5432"])),
    ("valkey: leaves the network", lambda s: s["valkey"].update(network_mode="host")),
    ("mongo: runs an image", lambda s: s["mongo"].update(image="mongo")),
    ("mongo: runs an image", lambda s: s["mongo"].update(image="mongo:latest")),
    ("postgres: POSTGRES_PASSWORD", lambda s: s["postgres"]["environment"].update(POSTGRES_PASSWORD="airflow")),
    ("mongo: A_KEY is not", lambda s: s["mongo"]["environment"].update(A_KEY="${A_KEY:-easy}")),
    ("valkey: holds a password", lambda s: s["valkey"].update(environment={"URL": "redis://:easy@valkey/0"})),
    ("airflow-scheduler: may write to ./dags", lambda s: s["airflow-scheduler"]["volumes"].append("./dags:/dags")),
]


@pytest.mark.parametrize(("finding", "break_it"), BREAKS)
def test_a_broken_service_is_found(compose: Compose, finding: str, break_it: Callable[[Compose], object]) -> None:
    break_it(compose["services"])

    assert any(found.startswith(finding) for found in findings(compose))


def test_what_is_a_secret_must_be_set() -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    secrets = set(re.findall(r"\$\{(\w+(?:PASSWORD|SECRET|KEY))\b", text))

    assert len(secrets) >= 7
    assert secrets == set(re.findall(r"\$\{(\w+):\?", text))


def test_postgres_is_reached_by_a_driver_that_is_installed(compose: Compose) -> None:
    environment = compose["services"]["airflow-scheduler"]["environment"]
    urls = [value for value in environment.values() if "postgresql" in str(value)]

    assert sorted(re.findall(r"postgresql\S*?://", " ".join(urls))) == [
        "postgresql+asyncpg://",
        "postgresql+psycopg2://",
        "postgresql+psycopg2://",
    ]
    assert {"asyncpg", "psycopg2-binary"} <= locked().keys()


def test_airflow_knows_the_options(compose: Compose) -> None:
    ProvidersManager().initialize_providers_configuration()
    known = {
        f"AIRFLOW__{section}__{option}".upper()
        for section, description in conf.configuration_description.items()
        for option in description["options"]
    }
    given = {
        variable
        for service in compose["services"].values()
        for variable in service.get("environment", {})
        if variable.startswith("AIRFLOW__")
    }

    assert len(given) > 15
    assert given <= known


def test_the_executor_can_be_loaded_with_the_locked_celery(compose: Compose) -> None:
    (check,) = [
        word for word in compose["services"]["airflow-worker"]["healthcheck"]["test"] if word.startswith("celery")
    ]
    module, _, app = check.split()[2].rpartition(".")

    assert isinstance(getattr(import_module(module), app), Celery)


@pytest.mark.parametrize("service", ["airflow-worker", "airflow-triggerer"])
def test_the_default_connection_is_to_the_mongodb_of_compose(
    compose: Compose, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = compose["services"][service]["environment"]["AIRFLOW_CONN_MONGO_DEFAULT"]
    default = value.removeprefix("${AIRFLOW_CONN_MONGO_DEFAULT:-").removesuffix("}")
    monkeypatch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", default.replace("${MONGO_PASSWORD}", "a-password"))
    init = compose["services"]["mongo-init"]["command"][0]

    hook = MongoHook("mongo_default")

    assert hook.uri == "mongodb://windrow:a-password@mongo:27017/windrow"
    assert hook.extras == {"replicaSet": "rs0"}
    # the user is made where its connection authenticates, and the member has the name that clients can reach
    assert 'windrow = db.getSiblingDB("windrow")' in init
    assert 'windrow.createUser({user: "windrow"' in init
    assert '_id: "rs0", members: [{_id: 0, host: "mongo:27017"}]' in init
    assert "--replSet rs0" in compose["services"]["mongo"]["command"][0]


def test_only_what_speaks_to_the_clouds_has_the_connections(compose: Compose) -> None:
    holders = {
        name
        for name, service in compose["services"].items()
        if service.get("secrets") or any("AIRFLOW_CONN" in variable for variable in service.get("environment", {}))
    }

    assert holders == {"airflow-worker", "airflow-triggerer", "airflow-apiserver", "x-publisher"}


# --- the image ---------------------------------------------------------------------------------


REQUIREMENTS = (ROOT / "requirements.txt").read_text(encoding="utf-8")


def locked() -> dict[str, str]:
    """Return the versions of requirements.txt, by name without extras."""
    return dict(re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==([^\s;]+)", REQUIREMENTS, re.MULTILINE))


def instructions(dockerfile: str) -> list[str]:
    joined = re.sub(r"\\\n", " ", dockerfile)
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


def image_findings(dockerfile: str) -> list[str]:
    """Return what is wrong with the Dockerfile."""
    steps, wrong = instructions(dockerfile), []
    version = locked()["apache-airflow"]
    (python,) = re.findall(r"--python-version (\S+)", REQUIREMENTS)  # how `make lock` made it
    if steps[0] != f"FROM apache/airflow:slim-{version}-python{python}":
        wrong.append(f"should be of Airflow {version} and Python {python}, as requirements.txt is")
    copied = [step for step in steps if step.startswith("COPY requirements.txt ")]
    installed = [step for step in steps if step.startswith("RUN pip install")]
    if not copied or not installed:
        wrong.append("does not copy and install requirements.txt")
    elif steps.index(copied[0]) > steps.index(installed[0]) or f"-r {copied[0].split()[-1]}" not in installed[0]:
        wrong.append("installs something else than the requirements.txt that it copied before")
    elif "--require-hashes" not in installed[0]:
        wrong.append("installs files whose hashes nobody looked at")
    wrong += [
        f"lacks {folder}" for folder in ("dags", "plugins", "include") if f"COPY {folder} {HOME / folder}" not in steps
    ]
    return wrong


def test_the_image_is_as_it_should_be() -> None:
    assert image_findings((ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("right", "wrong", "finding"),
    [
        ("slim-3.3.2", "slim-3.3.1", "should be of Airflow"),
        ("python3.11", "python3.13", "should be of Airflow"),
        ("RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt", "", "does not copy and install"),
        ("-r /tmp/requirements.txt", "apache-airflow", "installs something else"),
        (" --require-hashes", "", "installs files whose hashes"),
        ("COPY include ", "COPY includes ", "lacks include"),
    ],
)
def test_a_broken_image_is_found(right: str, wrong: str, finding: str) -> None:
    text = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
    assert right in text

    assert any(found.startswith(finding) for found in image_findings(text.replace(right, wrong)))


def test_the_image_is_named_after_its_airflow(compose: Compose) -> None:
    images = {service["image"] for service in compose["services"].values() if "build" in service}

    assert images == {f"windrow-airflow:{locked()['apache-airflow']}"}
    assert {service["build"]["dockerfile"] for service in compose["services"].values() if "build" in service} == {
        "deploy/Dockerfile"
    }


def test_the_operators_find_their_sql_in_the_containers(compose: Compose) -> None:
    mounts = dict(mount.split(":")[:2] for mount in compose["services"]["airflow-worker"]["volumes"])

    # where windrow.declare.include looks: beside the folder of plugins
    assert PurePosixPath(mounts["./plugins"]).parent == PurePosixPath(mounts["./include"]).parent
    assert PurePosixPath(mounts["./include"]).name == "include"
    assert mounts["./dags"] == str(HOME / "dags")
