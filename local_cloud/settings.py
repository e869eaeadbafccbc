"""Settings of the local cloud: defaults, then `.env` at the project root, then the process environment."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from dotenv import dotenv_values

from local_cloud.errors import SettingsError

LOOPBACK = "127.0.0.1"
PROJECT_ID = "windrow"
BUCKET = "windrow-landing"
TASKS_ACCOUNT = f"tasks@{PROJECT_ID}.iam.gserviceaccount.com"
"""The service account with which the queue calls the Cloud Function."""
AWS_REGION = "us-east-1"
LAKE = "windrow-lake"
"""The bucket of S3 that harvests land in."""
ARTIST_QUEUE = "windrow-artists"
"""The SQS queue for requested artists; its dead-letter queue has the suffix `-dead`."""
AWS_KEY = "test"
"""Access key and secret of the AWS emulators, which accept any."""
X_TOKEN = "AAAAwindrow-demo"  # noqa: S105 - only valid for the fake API
"""The token of the app that reads the fake X API."""

PORT_DEFAULTS: Mapping[str, int] = {
    "WINDROW_AIRFLOW_PORT": 8080,
    "WINDROW_API_PORT": 28400,
    "WINDROW_GCS_PORT": 28401,
    "WINDROW_BIGQUERY_PORT": 28402,
    "WINDROW_BIGQUERY_GRPC_PORT": 28403,
    "WINDROW_MONGO_PORT": 28404,
    "WINDROW_REDIS_PORT": 28405,
    "WINDROW_CLOUD_TASKS_PORT": 28406,
    "WINDROW_CLOUD_TASKS_HTTP_PORT": 28407,
    "WINDROW_FUNCTION_PORT": 28408,
    "WINDROW_PUBSUB_PORT": 28409,
    "WINDROW_PUBSUB_HTTP_PORT": 28420,
    "WINDROW_AWS_PORT": 28410,
    "WINDROW_ATHENA_PORT": 28411,
    "WINDROW_POSTGRES_PORT": 28412,
}
"""The variable of each port, and the port when it is not set."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Folders and ports of the local cloud. All addresses are on 127.0.0.1."""

    root: Path
    """The project folder, absolute."""
    var: Path
    """Folder of all data, logs and sockets, absolute."""
    airflow_port: int = PORT_DEFAULTS["WINDROW_AIRFLOW_PORT"]
    api_port: int = PORT_DEFAULTS["WINDROW_API_PORT"]
    gcs_port: int = PORT_DEFAULTS["WINDROW_GCS_PORT"]
    bigquery_port: int = PORT_DEFAULTS["WINDROW_BIGQUERY_PORT"]
    bigquery_grpc_port: int = PORT_DEFAULTS["WINDROW_BIGQUERY_GRPC_PORT"]
    mongo_port: int = PORT_DEFAULTS["WINDROW_MONGO_PORT"]
    redis_port: int = PORT_DEFAULTS["WINDROW_REDIS_PORT"]
    cloud_tasks_port: int = PORT_DEFAULTS["WINDROW_CLOUD_TASKS_PORT"]
    cloud_tasks_http_port: int = PORT_DEFAULTS["WINDROW_CLOUD_TASKS_HTTP_PORT"]
    function_port: int = PORT_DEFAULTS["WINDROW_FUNCTION_PORT"]
    pubsub_port: int = PORT_DEFAULTS["WINDROW_PUBSUB_PORT"]
    pubsub_http_port: int = PORT_DEFAULTS["WINDROW_PUBSUB_HTTP_PORT"]
    aws_port: int = PORT_DEFAULTS["WINDROW_AWS_PORT"]
    athena_port: int = PORT_DEFAULTS["WINDROW_ATHENA_PORT"]
    postgres_port: int = PORT_DEFAULTS["WINDROW_POSTGRES_PORT"]
    passengers_csv: Path | None = None
    """CSV file with passengers for the fake API; None: it generates passengers."""
    admin_password: str = dataclasses.field(default="admin", repr=False)
    """Password of the Airflow user `admin`."""
    dotenv: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    """All of `.env`: it may also hold AIRFLOW_CONN_* and AIRFLOW_VAR_*."""

    @classmethod
    def load(cls, root: Path, environ: Mapping[str, str]) -> Self:
        """Read the settings of the project at `root`.

        Raises SettingsError with the variable, its value and where it was set.
        """
        root = root.resolve()
        dotenv = {name: value for name, value in dotenv_values(root / ".env").items() if value is not None}
        source = _Source(environ=environ, dotenv=dotenv)
        ports = {_field(variable): source.port(variable) for variable in PORT_DEFAULTS}
        source.check_distinct()
        return cls(
            root=root,
            var=root / (source.text("WINDROW_VAR") or "var"),
            passengers_csv=source.csv("WINDROW_PASSENGERS_CSV", root),
            admin_password=source.text("WINDROW_ADMIN_PASSWORD") or "admin",
            dotenv=dotenv,
            **ports,
        )

    @property
    def airflow_python(self) -> Path:
        """Interpreter of the environment with Airflow."""
        return self.root / ".venv" / "bin" / "python"

    @property
    def cloud_python(self) -> Path:
        """Interpreter of the environment with the emulators and supervisord."""
        return self.root / ".venv-cloud" / "bin" / "python"

    @property
    def aws_python(self) -> Path:
        """Interpreter of the environment with the AWS emulators: ministack pins its own botocore."""
        return self.root / ".venv-aws" / "bin" / "python"

    @property
    def run(self) -> Path:
        """Folder of sockets, secrets and generated configuration."""
        return self.var / "run"

    @property
    def log(self) -> Path:
        """Folder of the services' logs."""
        return self.var / "log"

    @property
    def airflow_url(self) -> str:
        """Address of Airflow's UI and REST API."""
        return f"http://{LOOPBACK}:{self.airflow_port}"

    @property
    def api_url(self) -> str:
        """Address of the fake APIs."""
        return f"http://{LOOPBACK}:{self.api_port}"

    @property
    def gcs_url(self) -> str:
        """Address of the Cloud Storage emulator."""
        return f"http://{LOOPBACK}:{self.gcs_port}"

    @property
    def bigquery_url(self) -> str:
        """Address of the BigQuery emulator (REST)."""
        return f"http://{LOOPBACK}:{self.bigquery_port}"

    @property
    def mongo_address(self) -> str:
        """Address of the MongoDB stand-in, without the login: see `airflow_env.mongo_url`."""
        return f"mongodb://{LOOPBACK}:{self.mongo_port}"

    @property
    def redis_url(self) -> str:
        """Address of the Redis stand-in."""
        return f"redis://{LOOPBACK}:{self.redis_port}"

    @property
    def cloud_tasks_address(self) -> str:
        """Host and port of the Cloud Tasks emulator (gRPC)."""
        return f"{LOOPBACK}:{self.cloud_tasks_port}"

    @property
    def cloud_tasks_url(self) -> str:
        """Address of the Cloud Tasks emulator's HTTP side: /certs of its tokens, /queues."""
        return f"http://{LOOPBACK}:{self.cloud_tasks_http_port}"

    @property
    def pubsub_address(self) -> str:
        """Host and port of the Pub/Sub emulator (gRPC)."""
        return f"{LOOPBACK}:{self.pubsub_port}"

    @property
    def pubsub_url(self) -> str:
        """Address of the Pub/Sub emulator's HTTP side: /certs of its tokens, /subscriptions."""
        return f"http://{LOOPBACK}:{self.pubsub_http_port}"

    @property
    def function_url(self) -> str:
        """Address of the Cloud Function `fetch_passenger`; also the audience of the tokens that it accepts."""
        return f"http://{LOOPBACK}:{self.function_port}"

    @property
    def aws_url(self) -> str:
        """Address of the emulator of S3, DynamoDB, SQS and Lambda."""
        return f"http://{LOOPBACK}:{self.aws_port}"

    @property
    def athena_url(self) -> str:
        """Address of the emulator of Athena and Glue."""
        return f"http://{LOOPBACK}:{self.athena_port}"


def _field(variable: str) -> str:
    return variable.removeprefix("WINDROW_").lower()


@dataclasses.dataclass(frozen=True)
class _Source:
    """Reads variables, with the origin of each for error messages."""

    environ: Mapping[str, str]
    dotenv: Mapping[str, str]

    def text(self, variable: str) -> str:
        return (self.environ.get(variable) or self.dotenv.get(variable) or "").strip()

    def origin(self, variable: str) -> str:
        if self.environ.get(variable):
            return "from the environment"
        return "from .env" if self.dotenv.get(variable) else "the default"

    def port(self, variable: str) -> int:
        text = self.text(variable) or str(PORT_DEFAULTS[variable])
        # isdecimal alone would also let digits of other scripts through
        if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535):
            raise SettingsError(f"{variable} must be a port from 1 to 65535, not {text!r} ({self.origin(variable)}).")
        return int(text)

    def check_distinct(self) -> None:
        holder: dict[int, str] = {}
        for variable in PORT_DEFAULTS:
            port = self.port(variable)
            if port in holder:
                other = holder[port]
                raise SettingsError(
                    f"{other} ({self.origin(other)}) and {variable} ({self.origin(variable)}) "
                    f"are both {port}. Set a different port for each service."
                )
            holder[port] = variable

    def csv(self, variable: str, root: Path) -> Path | None:
        text = self.text(variable)
        if not text:
            return None
        path = root / text
        if not path.is_file():
            raise SettingsError(
                f"{variable} is {text!r} ({self.origin(variable)}), but this file does not exist. "
                "Leave the variable empty to use generated passengers."
            )
        return path
