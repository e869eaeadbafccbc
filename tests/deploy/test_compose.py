"""docker-compose.yaml, the image and the scripts of deploy/: all that can be known without a container engine."""

import copy
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from airflow.configuration import conf, run_command
from airflow.providers.mongo.hooks.mongo import MongoHook
from airflow.providers_manager import ProvidersManager
from check_jsonschema import main as check_jsonschema
from click.testing import CliRunner
from cryptography.fernet import Fernet
from dotenv import dotenv_values

from windrow import __version__

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yaml"
HOME = PurePosixPath("/opt/airflow")
BASH = shutil.which("bash") or ""
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")

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
    rules = (_health, _waits, _ports, _image, _secrets, _bounds, _mounts)
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
    if "healthcheck" in service and service.get("restart") not in {"unless-stopped", "on-failure"}:
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
    tag, _, digest = services[name].get("image", "").partition(":")[2].partition("$")
    if not re.match(r"\d+(\.\d+)*(-|$)", tag):
        yield f"runs an image of the version {tag!r}"
    if "build" not in services[name] and not re.fullmatch(r"\{[A-Z]+_DIGEST:-\}", digest):
        yield "has an image that cannot be pinned"


def _secrets(name: str, services: Compose) -> Iterator[str]:
    """Passwords are files: `docker inspect` shows the environment to all who may ask the engine."""
    for variable, value in services[name].get("environment", {}).items():
        if re.search(r"(PASSWORD|SECRET|KEY|TOKEN)$", variable) and value:
            yield f"{variable} is in the environment"
    if re.search(r"://[^/\s:]*:[^@\s&]+@", str(services[name])):
        yield "holds a password in a URL"
    used = set(re.findall(r"/run/secrets/(\w+)", str(services[name]))) - {"google"}
    if missing := used - set(services[name].get("secrets", ())):
        yield f"does not get {', '.join(sorted(missing))}"


def _bounds(name: str, services: Compose) -> Iterator[str]:
    service = services[name]
    for bound in ("mem_limit", "pids_limit"):
        if not service.get(bound):
            yield f"has no {bound}"
    if not service.get("logging", {}).get("options", {}).get("max-size"):
        yield "has a log that grows without end"
    if service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get("security_opt", ()):
        yield "has more rights than it needs"


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
        lambda s: [
            s[name]["depends_on"].pop("mongo-init") for name in ("airflow-worker", "airflow-clean", "x-publisher")
        ],
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
    ("mongo: A_KEY is", lambda s: s["mongo"]["environment"].update(A_KEY="${A_KEY:-easy}")),
    ("valkey: holds a password", lambda s: s["valkey"].update(environment={"URL": "redis://:easy@valkey/0"})),
    ("mongo: does not get mongo_root_password", lambda s: s["mongo"].pop("secrets")),
    ("mongo: has an image that cannot", lambda s: s["mongo"].update(image="mongo:8.0-noble")),
    ("airflow-worker: has no mem_limit", lambda s: s["airflow-worker"].pop("mem_limit")),
    ("valkey: has a log", lambda s: s["valkey"].pop("logging")),
    ("postgres: has more rights", lambda s: s["postgres"].pop("cap_drop")),
    ("airflow-scheduler: may write to ./dags", lambda s: s["airflow-scheduler"]["volumes"].append("./dags:/dags")),
]


@pytest.mark.parametrize(("finding", "break_it"), BREAKS)
def test_a_broken_service_is_found(compose: Compose, finding: str, break_it: Callable[[Compose], object]) -> None:
    break_it(compose["services"])

    assert any(found.startswith(finding) for found in findings(compose))


def test_the_script_writes_each_secret_once(compose: Compose, tmp_path: Path) -> None:
    script = copied("secrets.sh", tmp_path)

    first = subprocess.run([BASH, script], check=True, capture_output=True, text=True)
    written = {path.name: path.read_text(encoding="ascii") for path in (tmp_path / "secrets").iterdir()}
    (tmp_path / "secrets/jwt_secret").unlink()
    subprocess.run([BASH, script], check=True, capture_output=True)
    again = {path.name: path.read_text(encoding="ascii") for path in (tmp_path / "secrets").iterdir()}

    assert written.keys() == compose["secrets"].keys() - {"google"}
    assert len(Fernet(written["fernet_key"]).encrypt(b"")) > 0
    assert all(re.fullmatch(r"[0-9a-f]{16,}", text) for name, text in written.items() if name != "fernet_key")
    assert not any(text in first.stdout for text in written.values())
    assert again.pop("jwt_secret") != written.pop("jwt_secret")
    assert again == written
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0


def test_airflow_reads_the_secrets_from_files(compose: Compose, tmp_path: Path) -> None:
    environment = compose["services"]["airflow-scheduler"]["environment"]
    commands = {name: value for name, value in environment.items() if name.endswith("_CMD")}
    for name in compose["secrets"]:
        (tmp_path / name).write_text(f"the-{name}", encoding="ascii")
    read = {name: run_command(value.replace("/run/secrets", str(tmp_path))) for name, value in commands.items()}

    assert {name: value for name, value in read.items() if "://" not in value} == {
        "AIRFLOW__CORE__FERNET_KEY_CMD": "the-fernet_key",
        "AIRFLOW__API__SECRET_KEY_CMD": "the-api_secret_key",
        "AIRFLOW__API_AUTH__JWT_SECRET_CMD": "the-jwt_secret",
    }
    assert [value for value in read.values() if "://" in value] == [
        "postgresql+psycopg2://airflow:the-postgres_password@postgres/airflow",
        "postgresql+asyncpg://airflow:the-postgres_password@postgres/airflow",
        "db+postgresql+psycopg2://airflow:the-postgres_password@postgres/airflow",
    ]


@pytest.mark.parametrize("digest", ["@sha256:" + "0a" * 32, ""])
def test_images_are_pinned_by_what_was_pulled(compose: Compose, tmp_path: Path, digest: str) -> None:
    script = copied("pin.sh", tmp_path)
    (tmp_path / ".env").write_text("MONGO_DIGEST=@sha256:old\nX_RULES=a\n", encoding="utf-8")
    for name in ("docker-compose.yaml", "deploy/Dockerfile"):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    docker.write_text(f'#!/bin/sh\n[ "$1" = pull ] && echo "$3" >> "{tmp_path}/pulled" || echo "{"image" + digest}"\n')
    docker.chmod(0o755)

    ended = subprocess.run(
        [BASH, script],
        env={"PATH": f"{docker.parent}:{os.environ['PATH']}"},
        capture_output=True,
        check=False,
        text=True,
    )

    pulled = (tmp_path / "pulled").read_text(encoding="utf-8").split()
    set_now = dotenv_values(tmp_path / ".env")
    if not digest:
        assert ended.returncode == 1
        assert ended.stderr.startswith("postgres:16-bookworm has no digest")
        return
    images = {service["image"] for service in compose["services"].values() if "build" not in service}
    assert {f"{image}${{{name}:-}}" for image in pulled for name in set_now} >= images
    assert pulled[-1].startswith("apache/airflow:slim-")
    assert set_now.pop("X_RULES") == "a"
    assert set_now == dict.fromkeys(["POSTGRES_DIGEST", "VALKEY_DIGEST", "MONGO_DIGEST", "AIRFLOW_DIGEST"], digest)


@pytest.mark.parametrize(
    ("script", "given", "said"),
    [
        ("backup.sh", ["old"], "there is a old already"),
        ("restore.sh", ["old"], "old has no airflow.pgdump: it is not a whole backup"),
        ("restore.sh", [], "which backup?"),
    ],
)
def test_a_script_refuses_what_it_cannot_use(tmp_path: Path, script: str, given: list[str], said: str) -> None:
    (tmp_path / "old").mkdir()

    ended = subprocess.run([BASH, copied(script, tmp_path), *given], capture_output=True, check=False, text=True)

    assert ended.returncode != 0
    assert said in ended.stderr


def copied(script: str, to: Path) -> Path:
    """Copy a script of deploy/ into a project of its own."""
    (to / "deploy").mkdir()
    return Path(shutil.copy(ROOT / "deploy" / script, to / "deploy" / script))


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
    # Airflow takes the output of a command only for these
    secret = {f"AIRFLOW__{section}__{option}_CMD".upper() for section, option in conf.sensitive_config_values}
    # passed on to Celery as they are
    transport = {"AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"}
    assert given <= known | secret | transport


def test_a_worker_is_asked_by_celery_alone(compose: Compose) -> None:
    check = compose["services"]["airflow-worker"]["healthcheck"]["test"]
    no_broker = {**os.environ, "AIRFLOW__CELERY__BROKER_URL": "redis://127.0.0.1:1/0", "HOSTNAME": "h"}

    ended = subprocess.run(
        [sys.executable, "-X", "importtime", *check[5:]], env=no_broker, capture_output=True, check=False, text=True
    )

    assert check[:5] == ["CMD", "timeout", "--signal=KILL", "15", "python"]
    assert ended.returncode == 1
    assert "Connection refused" in ended.stderr
    assert not re.search(r"\| +airflow\b", ended.stderr)  # it would take three seconds of CPU, each time


@pytest.mark.parametrize("service", ["airflow-worker", "airflow-triggerer", "airflow-apiserver", "x-publisher"])
def test_the_default_connection_is_to_the_mongodb_of_compose(
    compose: Compose, service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mongo_password").write_text("a-password", encoding="ascii")
    entrypoint = (ROOT / "deploy/entrypoint.sh").read_text(encoding="utf-8")
    script = entrypoint.replace("/run/secrets", str(tmp_path)).replace("/usr/bin/dumb-init -- /entrypoint", "")
    made = subprocess.run(
        [BASH, "-c", script, "-", "env"], env={"PATH": os.environ["PATH"]}, capture_output=True, check=False
    )
    address = dict(line.split("=", 1) for line in made.stdout.decode().splitlines())
    monkeypatch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", address["AIRFLOW_CONN_MONGO_DEFAULT"])
    init = compose["services"]["mongo-init"]["command"][0]

    hook = MongoHook("mongo_default")

    assert "mongo_password" in compose["services"][service]["secrets"]
    assert hook.uri == "mongodb://windrow:a-password@mongo:27017/windrow"
    assert hook.extras == {"replicaSet": "rs0"}
    assert address["MONGO_URL"] == "mongodb://windrow:a-password@mongo:27017/windrow?replicaSet=rs0"
    # the user is made where its connection authenticates, and the member has the name that clients can reach
    assert 'windrow = db.getSiblingDB("windrow")' in init
    assert 'windrow.createUser({user: "windrow"' in init
    assert '_id: "rs0", members: [{_id: 0, host: "mongo:27017"}]' in init
    assert "--replSet rs0" in compose["services"]["mongo"]["command"][0]


def test_a_connection_of_env_wins(tmp_path: Path) -> None:
    (tmp_path / "mongo_password").write_text("a-password", encoding="ascii")
    entrypoint = (ROOT / "deploy/entrypoint.sh").read_text(encoding="utf-8")
    script = entrypoint.replace("/run/secrets", str(tmp_path)).replace("/usr/bin/dumb-init -- /entrypoint", "")
    given = {"PATH": os.environ["PATH"], "AIRFLOW_CONN_MONGO_DEFAULT": "mongo://elsewhere/windrow"}

    made = subprocess.run([BASH, "-c", script, "-", "env"], env=given, capture_output=True, check=False, text=True)

    assert "AIRFLOW_CONN_MONGO_DEFAULT=mongo://elsewhere/windrow" in made.stdout.splitlines()


def test_env_reaches_all_of_airflow(compose: Compose) -> None:
    built = {name for name, service in compose["services"].items() if "build" in service}

    assert len(built) == 8
    assert {name for name, service in compose["services"].items() if "env_file" in service} == built


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
    if steps[1] != f"FROM apache/airflow:slim-{version}-python{python}${{DIGEST}}":
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
    assert image_findings(DOCKERFILE) == []


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
    text = DOCKERFILE
    assert right in text

    assert any(found.startswith(finding) for found in image_findings(text.replace(right, wrong)))


def test_the_image_has_the_version_of_its_code(compose: Compose) -> None:
    built = [service for service in compose["services"].values() if "build" in service]

    assert {service["image"] for service in built} == {f"windrow-airflow:{__version__}"}
    assert {service["build"]["dockerfile"] for service in built} == {"deploy/Dockerfile"}
    # the code is in the image, not over it
    assert {mount for service in built for mount in service["volumes"]} == {"logs:/opt/airflow/logs"}
    # where windrow.declare.include looks: beside the folder of plugins
    copied = dict(re.findall(r"^COPY (dags|plugins|include) (\S+)$", DOCKERFILE, re.MULTILINE))
    assert PurePosixPath(copied["plugins"]).parent == PurePosixPath(copied["include"]).parent == HOME


def test_nothing_but_what_is_copied_goes_to_the_engine() -> None:
    ignored = (ROOT / "deploy/Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    copied = set(re.findall(r"^COPY (\S+) ", DOCKERFILE, re.MULTILINE))

    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
