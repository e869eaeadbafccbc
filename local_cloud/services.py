"""The services of the local cloud, as a table. To add one, add an entry to `table` (see README.md)."""

import dataclasses
import os
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from pathlib import Path

from local_cloud import airflow_env, probes
from local_cloud.settings import LOOPBACK, PROJECT_ID, TASKS_ACCOUNT, X_TOKEN, Settings

DATABASE = "database"
"""Stage of Airflow's database: started first, because it is migrated before Airflow starts; stopped last."""
CLOUD = "cloud"
"""Stage of the emulators."""
AIRFLOW_API = "airflow-api"
"""Stage of Airflow's API server: running tasks report to it, also while they are stopped."""
AIRFLOW = "airflow"
"""Stage of Airflow's other components."""
STAGES = (DATABASE, CLOUD, AIRFLOW_API, AIRFLOW)
"""The start order; services stop in the reverse order, one stage after the other."""


@dataclasses.dataclass(frozen=True)
class Port:
    """A port of a service, and its environment variable."""

    number: int
    variable: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Service:
    """One supervised process."""

    name: str
    stage: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = dataclasses.field(repr=False)
    """The complete environment of the process; it may contain secrets."""
    healthy: probes.Probe
    stuck: Callable[[], str] = lambda: ""
    """Says why a healthy service does not do its work until it is started again; empty if it does."""
    address: str = ""
    """The address for users or clients; empty for services without one."""
    ports: tuple[Port, ...] = ()
    start_seconds: int = 120
    """Maximum time until the service is healthy. It is long for slow machines; a crash is detected at once."""
    stop_signal: str = "TERM"
    stop_seconds: int = 10
    """Maximum time to stop before the service is killed."""


def table(settings: Settings, environ: Mapping[str, str]) -> tuple[Service, ...]:
    """Return every service, in start order. `environ` is the user's environment."""
    return (
        _database(settings, environ),
        *_emulators(settings, environ),
        _function(settings, environ),
        _publisher(settings, environ),
        *_airflow(settings, environ),
    )


def select(services: Collection[Service], names: Collection[str]) -> tuple[Service, ...]:
    """Return the services of these names, in start order. Raises ValueError for an unknown name."""
    unknown = set(names) - {service.name for service in services}
    if unknown:
        known = ", ".join(service.name for service in services)
        raise ValueError(f"Unknown service: {', '.join(sorted(unknown))}. Services: {known}.")
    return tuple(service for service in services if service.name in names)


def _plain(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """The environment of an emulator, without variables of the user that could change its behavior.

    local-bigquery, for one, takes settings from variables with names as common as GROUPS and DATA_DIR.
    """
    kept = ("PATH", "LANG", "LC_ALL", "TMPDIR")
    return {
        **{name: environ[name] for name in kept if name in environ},
        "HOME": str(home),
        "PYTHONUNBUFFERED": "1",
    }


def _database(settings: Settings, environ: Mapping[str, str]) -> Service:
    port = settings.postgres_port
    return Service(
        name="postgres",
        stage=DATABASE,
        argv=(
            *(str(settings.cloud_python), "-m", "local_cloud.emulators.postgres", "--host", LOOPBACK),
            *("--port", str(port), "--data-dir", str(settings.var / "postgres")),
        ),
        environment={
            **_plain(environ, settings.var / "home"),
            "POSTGRES_PASSWORD": airflow_env.database_password(settings),
        },
        healthy=probes.postgres_answers(airflow_env.database_url(settings)),
        address=f"{LOOPBACK}:{port}",
        ports=(Port(port, "WINDROW_POSTGRES_PORT"),),
        stop_signal="INT",  # TERM would wait for clients to leave
    )


def _emulators(settings: Settings, environ: Mapping[str, str]) -> tuple[Service, ...]:
    python = str(settings.cloud_python)
    aws_python = str(settings.aws_python)
    plain = _plain(environ, settings.var / "home")
    passengers = ("--passengers", str(settings.passengers_csv)) if settings.passengers_csv else ()
    # the emulators of Cloud Storage and BigQuery share a folder: a load job reads an object's file
    gcs, objects = settings.var / "gcs", "objects"
    return (
        Service(
            name="mongo",
            stage=CLOUD,
            argv=(
                *(python, "-m", "local_cloud.emulators.mongo", "--host", LOOPBACK),
                *("--port", str(settings.mongo_port), "--data-dir", str(settings.var / "mongo")),
            ),
            environment={
                **plain,
                "MONGO_USER": airflow_env.MONGO_USER,
                "MONGO_PASSWORD": airflow_env.mongo_password(settings),
            },
            healthy=probes.mongo_answers(airflow_env.mongo_url(settings)),
            address=settings.mongo_url,
            ports=(Port(settings.mongo_port, "WINDROW_MONGO_PORT"),),
        ),
        Service(
            name="redis",
            stage=CLOUD,
            argv=(
                *(python, "-m", "local_cloud.emulators.redis", "--host", LOOPBACK),
                *("--port", str(settings.redis_port), "--data-dir", str(settings.var / "redis")),
            ),
            environment={**plain, "REDIS_PASSWORD": airflow_env.redis_password(settings)},
            healthy=probes.redis_pong(settings.redis_port, airflow_env.redis_password(settings)),
            address=settings.redis_url,
            ports=(Port(settings.redis_port, "WINDROW_REDIS_PORT"),),
        ),
        Service(
            name="gcs",
            stage=CLOUD,
            argv=(
                *(python, "-m", "local_cloud.emulators.gcs", "--host", LOOPBACK),
                *("--port", str(settings.gcs_port), "--data-dir", str(gcs)),
            ),
            environment={**plain, "STORAGE_DIR": objects},
            healthy=probes.http_ok(settings.gcs_port, "/"),
            address=settings.gcs_url,
            ports=(Port(settings.gcs_port, "WINDROW_GCS_PORT"),),
        ),
        Service(
            name="bigquery",
            stage=CLOUD,
            argv=(
                *(python, "-m", "local_cloud.emulators.bigquery", "serve", "--host", LOOPBACK),
                *("--port", str(settings.bigquery_port), "--grpc-port", str(settings.bigquery_grpc_port)),
                *("--project", PROJECT_ID, "--data-dir", str(settings.var / "bigquery")),
            ),
            environment={**plain, "GCS_LOCAL_ROOT": str(gcs / objects)},
            healthy=probes.http_ok(settings.bigquery_port, f"/bigquery/v2/projects/{PROJECT_ID}/datasets"),
            address=settings.bigquery_url,
            ports=(
                Port(settings.bigquery_port, "WINDROW_BIGQUERY_PORT"),
                Port(settings.bigquery_grpc_port, "WINDROW_BIGQUERY_GRPC_PORT"),
            ),
        ),
        Service(
            name="cloud-tasks",
            stage=CLOUD,
            argv=(
                *(python, "-m", "local_cloud.emulators.cloud_tasks", "--host", LOOPBACK),
                *("--port", str(settings.cloud_tasks_port), "--http-port", str(settings.cloud_tasks_http_port)),
                *("--data-dir", str(settings.var / "cloud-tasks")),
            ),
            environment=plain,
            healthy=probes.http_ok(settings.cloud_tasks_http_port, "/health"),
            address=settings.cloud_tasks_address,
            ports=(
                Port(settings.cloud_tasks_port, "WINDROW_CLOUD_TASKS_PORT"),
                Port(settings.cloud_tasks_http_port, "WINDROW_CLOUD_TASKS_HTTP_PORT"),
            ),
        ),
        Service(
            name="aws",
            stage=CLOUD,
            argv=(
                *(aws_python, "-m", "local_cloud.emulators.ministack", "--host", LOOPBACK),
                *("--port", str(settings.aws_port), "--data-dir", str(settings.var / "aws")),
            ),
            environment=plain,
            healthy=probes.http_ok(settings.aws_port, "/_ministack/health"),
            address=settings.aws_url,
            ports=(Port(settings.aws_port, "WINDROW_AWS_PORT"),),
            stop_seconds=15,  # it saves everything once more
        ),
        Service(
            name="athena",
            stage=CLOUD,
            argv=(
                *(aws_python, "-m", "local_cloud.emulators.athena", "--host", LOOPBACK),
                *("--port", str(settings.athena_port), "--upstream", settings.aws_url),
                *("--data-dir", str(settings.var / "athena")),
            ),
            environment=plain,
            healthy=probes.http_ok(settings.athena_port, "/health"),
            address=settings.athena_url,
            ports=(Port(settings.athena_port, "WINDROW_ATHENA_PORT"),),
        ),
        Service(
            name="pubsub",
            stage=CLOUD,
            argv=(
                # Airflow's environment has the messages of the API already, with its Google provider
                *(str(settings.airflow_python), "-m", "local_cloud.emulators.pubsub", "--host", LOOPBACK),
                *("--port", str(settings.pubsub_port), "--http-port", str(settings.pubsub_http_port)),
                *("--data-dir", str(settings.var / "pubsub")),
            ),
            environment=plain,
            healthy=probes.http_ok(settings.pubsub_http_port, "/health"),
            address=settings.pubsub_address,
            ports=(
                Port(settings.pubsub_port, "WINDROW_PUBSUB_PORT"),
                Port(settings.pubsub_http_port, "WINDROW_PUBSUB_HTTP_PORT"),
            ),
        ),
        Service(
            name="apis",
            stage=CLOUD,
            argv=(
                *(str(settings.airflow_python), "-m", "local_cloud.apis", "--host", LOOPBACK),
                *("--port", str(settings.api_port), "--posts", str(settings.var / "apis" / "posts"), *passengers),
            ),
            environment=plain,
            healthy=probes.http_ok(settings.api_port, "/_admin/health"),
            address=settings.api_url,
            ports=(Port(settings.api_port, "WINDROW_API_PORT"),),
        ),
    )


def _function(settings: Settings, environ: Mapping[str, str]) -> Service:
    """The functions framework of Google, on the sources of the function: an edit needs a restart, but no build."""
    functions = settings.root / "include" / "functions"
    main = functions / "fetch_passenger" / "main.py"
    port = settings.function_port
    return Service(
        name="fetch-passenger",
        stage=CLOUD,
        argv=(
            *(str(settings.cloud_python), "-m", "local_cloud.emulators.function", "--target", "fetch_passenger"),
            *("--source", str(main), "--host", LOOPBACK, "--port", str(port)),
        ),
        environment={
            **_plain(environ, settings.var / "home"),
            "TMPDIR": str(settings.var / "fetch-passenger"),
            "PYTHONPATH": os.pathsep.join([str(settings.root / "plugins"), str(functions / "shared")]),
            "MONGO_URL": airflow_env.mongo_url(settings),
            "API_URL": settings.api_url,
            "API_CLIENT_ID": "windrow-demo",
            "API_CLIENT_SECRET": "windrow-demo-secret",
            "API_TOKEN_PATH": "/oauth/token",
            "OIDC_AUDIENCE": settings.function_url,
            "OIDC_SERVICE_ACCOUNT": TASKS_ACCOUNT,
            "OIDC_CERTS_URL": f"{settings.cloud_tasks_url}/certs",
        },
        healthy=probes.http_ok(port, "/", status=HTTPStatus.METHOD_NOT_ALLOWED),  # it takes POST only
        address=settings.function_url,
        ports=(Port(port, "WINDROW_FUNCTION_PORT"),),
    )


def _publisher(settings: Settings, environ: Mapping[str, str]) -> Service:
    """The publisher of X, on the fake API, or on the real one if X_BEARER_TOKEN is set."""
    given = {**settings.dotenv, **environ}
    real = {name: value for name, value in given.items() if name.startswith("X_")}
    fake = {"X_API_URL": settings.api_url, "X_BEARER_TOKEN": X_TOKEN, "X_RULES": "tesla", "X_USERNAMES": "1"}
    beat = settings.run / "x-publisher.beat"
    return Service(
        name="x-publisher",
        stage=CLOUD,
        argv=(str(settings.airflow_python), "-m", "windrow.sources.x.publisher", "--beat", str(beat)),
        environment={
            **_plain(environ, settings.var / "home"),
            "PYTHONPATH": str(settings.root / "plugins"),
            "PUBSUB_EMULATOR_HOST": settings.pubsub_address,
            "MONGO_URL": airflow_env.mongo_url(settings),
            "X_PROJECT": PROJECT_ID,
            **(real if given.get("X_BEARER_TOKEN") else fake),
        },
        healthy=probes.touched(beat),
    )


def _airflow(settings: Settings, environ: Mapping[str, str]) -> tuple[Service, ...]:
    environment = airflow_env.airflow_environment(settings, environ)
    airflow = (str(settings.airflow_python), "-m", "airflow")
    port = settings.airflow_port

    def component(name: str, *arguments: str, reported_as: str, stop_seconds: int) -> Service:
        return Service(
            name=f"airflow-{name}",
            stage=AIRFLOW,
            argv=(*airflow, name, *arguments),
            environment=environment,
            healthy=probes.airflow_component(port, reported_as),
            start_seconds=240,
            stop_seconds=stop_seconds,
        )

    api_server = component(
        *("api-server", "--host", LOOPBACK, "--port", str(port)), reported_as="metadatabase", stop_seconds=5
    )
    scheduler = component("scheduler", "--skip-serve-logs", reported_as="scheduler", stop_seconds=10)
    if environment["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor":
        workers = int(environment["AIRFLOW__CORE__PARALLELISM"])
        stuck = probes.airflow_executor(airflow_env.database_url(settings), workers)
        scheduler = dataclasses.replace(scheduler, stuck=stuck)
    return (
        dataclasses.replace(
            api_server,
            stage=AIRFLOW_API,
            address=settings.airflow_url,
            ports=(Port(port, "WINDROW_AIRFLOW_PORT"),),
        ),
        # --skip-serve-logs: the API server reads log files itself, as all run on one machine; the log
        # servers would listen on every interface and cost 120 MB
        scheduler,
        component("dag-processor", reported_as="dag_processor", stop_seconds=5),
        # stopped right after a start it can hang; its triggers are in the database, so it may be killed
        component("triggerer", "--skip-serve-logs", reported_as="triggerer", stop_seconds=5),
    )
