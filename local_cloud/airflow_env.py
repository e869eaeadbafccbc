"""The environment of every Airflow process of the local cloud: settings, connections, emulators."""

import base64
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_cloud import folder
from local_cloud.apis.github.demo_tokens import DEMO_TOKENS, POOL
from local_cloud.apis.spotify.catalogue import make_music
from local_cloud.settings import AWS_KEY, AWS_REGION, BUCKET, LAKE, LOOPBACK, PROJECT_ID, TASKS_ACCOUNT, Settings

USER = "admin"
"""The one user of the demo's Airflow."""
MONGO_USER = "windrow"
"""The user of the MongoDB stand-in; of its database `admin`, where a client logs in."""
GOOGLE_CONNECTION = "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT"
AWS_CONNECTION = "AIRFLOW_CONN_AWS_DEFAULT"
KNOWN_ARTISTS = 12
"""Artists of the fake Spotify that are harvested every day."""

SMALL_MACHINE: Mapping[str, str] = {
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    # the default of 32 workers is more than two cores can serve: the API server then answers too late
    "AIRFLOW__CORE__PARALLELISM": "8",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__CORE__AUTH_MANAGER": "local_auth.LocalAuthManager",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_MAX_OVERFLOW": "40",
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
    # a worker waits up to this long for a child that is done but has not exited (default 5)
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    # a chain of 10 short tasks took 11 s with the default of 1, and 2 s with 0.1; at 0.1 the idle scheduler and its
    # database take 20 % of a core
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.25",
    # after a crash, tasks that were running are tried again within half a minute
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    # a file whose time has changed is parsed at once. The others are parsed every five minutes, because a DAG that was
    # switched on in the UI gets the trigger that wakes it when its file is parsed; a file takes a third of a second
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    "AIRFLOW__DAG_PROCESSOR__FILE_PARSING_SORT_MODE": "modified_time",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
    "AIRFLOW__DAG_PROCESSOR__PRINT_STATS_INTERVAL": "3600",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
    "AIRFLOW__LOGGING__UVICORN_LOGGING_LEVEL": "WARNING",
}
"""Settings that hold on two cores; docs/decisions.md tells what they were measured against."""


def airflow_environment(settings: Settings, base_environ: Mapping[str, str]) -> dict[str, str]:
    """Return the complete environment of an Airflow process on the local cloud.

    It starts from `base_environ`, the user's. The AIRFLOW_CONN_* and AIRFLOW_VAR_* of the environment, then
    those of `.env`, win over ours, so that one connection can be pointed at a real service. With the user's
    own Google or AWS connection the variables of its emulators are left out too: they would override it.

    Secrets are made on first use and kept in `var/run`. Raises FolderError when `var` is not ours to write.
    """
    folder.claim(settings.var)
    chosen = {
        name: value
        for name, value in {**settings.dotenv, **base_environ}.items()
        if name.startswith(("AIRFLOW_CONN_", "AIRFLOW_VAR_"))
    }
    google = {} if GOOGLE_CONNECTION in chosen else _google_emulators(settings)
    aws = {} if AWS_CONNECTION in chosen else _aws_emulators(settings)
    environment = {
        **base_environ,
        **SMALL_MACHINE,
        **_places(settings, base_environ),
        # the drivers are named, as SQLAlchemy's own choice changes with its version
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url(settings, "postgresql+psycopg2"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": database_url(settings, "postgresql+asyncpg"),
        **_secrets(settings),
        **google,
        **aws,
        **_connections(settings),
        "AIRFLOW_VAR_WINDROW_BUCKET": BUCKET,
        "AIRFLOW_VAR_WINDROW_GITHUB_REPOSITORIES": '["acme/windmill", "acme/gristmill", "umbrella-labs/raincoat"]',
        "AIRFLOW_VAR_WINDROW_S3_BUCKET": LAKE,
        "AIRFLOW_VAR_WINDROW_SPOTIFY_ARTISTS": json.dumps(list(make_music().artists)[:KNOWN_ARTISTS]),
        **chosen,
    }
    # it would make every process compile all of Airflow at every start: 30 s of two cores, not 15
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    loopback = f"{LOOPBACK},localhost"
    for name in ("NO_PROXY", "no_proxy"):
        others = base_environ.get(name)
        environment[name] = f"{others},{loopback}" if others else loopback
    return environment


def passwords_file(settings: Settings) -> Path:
    """Where SimpleAuthManager reads the users' passwords."""
    return settings.var / "airflow" / "passwords.json"


def write_passwords(settings: Settings) -> None:
    """Write the password of the demo's user, readable by its owner only."""
    folder.write_private(passwords_file(settings), json.dumps({USER: settings.admin_password}))


def _places(settings: Settings, base_environ: Mapping[str, str]) -> dict[str, str]:
    home = settings.var / "airflow"
    plugins = str(settings.root / "plugins")  # with it in PYTHONPATH, Airflow finds our connection type
    path = [str(settings.root / "local_cloud" / "airflow_settings"), plugins, base_environ.get("PYTHONPATH", "")]
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(settings.root / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": plugins,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_file(settings)),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{settings.airflow_url}/execution/",
        "AIRFLOW__API__HOST": LOOPBACK,
        "AIRFLOW__API__PORT": str(settings.airflow_port),
        "AIRFLOW__API__BASE_URL": settings.airflow_url,
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        # tasks may call `python` or `airflow`: let them find this environment's
        "PATH": os.pathsep.join([str(settings.airflow_python.parent), base_environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "PYTHONUNBUFFERED": "1",
        # setproctitle: do not write titles over the environment, by which the local cloud knows its processes
        "SPT_NOENV": "1",
    }


def database_password(settings: Settings) -> str:
    """Return the password of PostgreSQL's user."""
    return _password(settings, "postgres")


def redis_password(settings: Settings) -> str:
    """Return the password of Redis."""
    return _password(settings, "redis")


def mongo_password(settings: Settings) -> str:
    """Return the password of MongoDB's user."""
    return _password(settings, "mongo")


def _password(settings: Settings, service: str) -> str:
    """Return the password of a service, made on first use. Raises FolderError when `var` is not ours."""
    folder.claim(settings.var)
    path = settings.run / f"{service}-secrets.json"
    return folder.secret(path, lambda: {"password": secrets.token_urlsafe(24)})["password"]


def mongo_url(settings: Settings, database: str = "") -> str:
    """Return where MongoDB is, with user, password and a database. Raises FolderError when `var` is not ours."""
    login = f"{MONGO_USER}:{mongo_password(settings)}"
    return f"mongodb://{login}@{LOOPBACK}:{settings.mongo_port}/{database}?authSource=admin"


def mongo_connection(settings: Settings, database: str = "windrow") -> dict[str, Any]:
    """Return the Airflow connection of MongoDB. Raises FolderError when `var` is not ours."""
    return {
        "conn_type": "mongo",
        "host": LOOPBACK,
        "port": settings.mongo_port,
        "login": MONGO_USER,
        "password": mongo_password(settings),
        "schema": database,
        "extra": {"authSource": "admin"},
    }


def redis_url(settings: Settings) -> str:
    """Return where Redis is, with the password. Raises FolderError when `var` is not ours."""
    return settings.redis_url.replace("://", f"://:{redis_password(settings)}@")


def database_url(settings: Settings, scheme: str = "postgresql") -> str:
    """Return where Airflow's database is, with the password. Raises FolderError when `var` is not ours."""
    return f"{scheme}://airflow:{database_password(settings)}@{LOOPBACK}:{settings.postgres_port}/postgres"


def _secrets(settings: Settings) -> dict[str, str]:
    def make() -> dict[str, str]:
        return {
            # what Fernet.generate_key() does, without importing cryptography here
            "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
            "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(48),
        }

    return folder.secret(settings.run / "airflow-secrets.json", make)


def _google_emulators(settings: Settings) -> dict[str, str]:
    return {
        "STORAGE_EMULATOR_HOST": settings.gcs_url,
        "BIGQUERY_EMULATOR_HOST": settings.bigquery_url,
        "CLOUD_TASKS_EMULATOR_HOST": settings.cloud_tasks_address,
        "PUBSUB_EMULATOR_HOST": settings.pubsub_address,
        "GOOGLE_CLOUD_PROJECT": PROJECT_ID,
        # otherwise gcsfs opens a gRPC channel with TLS to the emulator, and hangs
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        # otherwise google-auth looks for the metadata server of a Compute Engine machine
        "NO_GCE_CHECK": "true",
    }


def _aws_emulators(settings: Settings) -> dict[str, str]:
    """Point every AWS client at the emulators, so that the connections are those of production."""
    return {
        "AWS_ENDPOINT_URL": settings.aws_url,
        "AWS_ENDPOINT_URL_ATHENA": settings.athena_url,
        "AWS_ENDPOINT_URL_GLUE": settings.athena_url,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _connections(settings: Settings) -> dict[str, str]:
    youtube = {
        "conn_type": "http",
        "schema": "http",
        "host": LOOPBACK,
        "port": settings.api_port,
        "login": "windrow-demo",
        "password": "windrow-demo-secret",
        "extra": {"token_path": "/token", "refresh_token": "windrow-demo-refresh-token"},
    }
    connections = {
        GOOGLE_CONNECTION: {
            "conn_type": "google_cloud_platform",
            "extra": {
                "is_anonymous": True,
                "project": PROJECT_ID,
                "use_legacy_sql": False,
                "num_retries": 2,
            },
        },
        AWS_CONNECTION: {
            "conn_type": "aws",
            "login": AWS_KEY,
            "password": AWS_KEY,
            "extra": {"region_name": AWS_REGION},
        },
        "AIRFLOW_CONN_SPOTIFY": {
            "conn_type": "http",
            "host": f"{settings.api_url}/spotify/v1",
            "login": "windrow-demo",
            "password": "windrow-demo-secret",
            "extra": {"token_path": f"{settings.api_url}/spotify/api/token", "token_auth": "basic"},
        },
        "AIRFLOW_CONN_MONGO_DEFAULT": mongo_connection(settings),
        "AIRFLOW_CONN_REDIS_DEFAULT": {
            "conn_type": "redis",
            "host": LOOPBACK,
            "port": settings.redis_port,
            "password": redis_password(settings),
            "extra": {"db": 0},
        },
        "AIRFLOW_CONN_FETCH_PASSENGER": {
            "conn_type": "http",
            "schema": "http",
            "host": LOOPBACK,
            "port": settings.function_port,
            "extra": {"service_account": TASKS_ACCOUNT, "audience": settings.function_url},
        },
        "AIRFLOW_CONN_WINDROW_AIRFLOW": {
            "conn_type": "http",
            "host": settings.airflow_url,
            "login": USER,
            "password": settings.admin_password,
        },
        "AIRFLOW_CONN_TITANIC": {
            "conn_type": "http",
            "schema": "http",
            "host": LOOPBACK,
            "port": settings.api_port,
            "login": "windrow-demo",
            "password": "windrow-demo-secret",
            "extra": {"token_path": "/oauth/token"},
        },
        "AIRFLOW_CONN_GITHUB": {
            "conn_type": "http",
            "host": f"http://{LOOPBACK}:{settings.api_port}/github",
            "extra": {
                "tokens": [{"token": token, "owner": DEMO_TOKENS[token]} for token in POOL],
                # the fake's hour can be set to seconds: a task should defer for it all the same
                "patience_s": 2,
            },
        },
        "AIRFLOW_CONN_YOUTUBE": youtube,
        "AIRFLOW_CONN_YOUTUBE_ANALYTICS": youtube,
    }
    return {name: json.dumps(connection) for name, connection in connections.items()}
