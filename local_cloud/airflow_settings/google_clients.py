"""Keep Google's clients on the emulators, where the emulator variables alone do not.

Three ways lead to the real BigQuery although BIGQUERY_EMULATOR_HOST is set, and for Cloud Tasks there is no such
variable but ours (providers-google 22.8.0). Each way is closed when its module is imported, so this module itself
imports nothing heavy. A module whose source is unknown cannot be imported: unmended, it may reach the real cloud.
"""

import functools
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import known_source  # this folder is on sys.path, not a package
import wrapt

BIGQUERY = "BIGQUERY_EMULATOR_HOST"
CLOUD_TASKS = "CLOUD_TASKS_EMULATOR_HOST"


def keep_on_emulators(environ: Mapping[str, str]) -> None:
    """Mend the clients as they are imported; do nothing for those whose variable is not set."""
    for variable, module, mend in (
        (BIGQUERY, "gcloud.aio.bigquery.bigquery", _aio_client),
        (BIGQUERY, "airflow.providers.google.cloud.hooks.bigquery", _discovery_client),
        (BIGQUERY, "google.cloud.bigquery.table", _row_iterator),
        (CLOUD_TASKS, "airflow.providers.google.cloud.hooks.tasks", _tasks_client),
    ):
        address = environ.get(variable, "").rstrip("/")
        if address:
            wrapt.register_post_import_hook(functools.partial(_checked, mend, address), module)


def _checked(mend: Callable[[str, ModuleType], None], address: str, module: ModuleType) -> None:
    known_source.check_imported(module)
    mend(address, module)


def _aio_client(address: str, module: ModuleType) -> None:
    """The client of deferrable operators puts `http://` before the variable, which must hold a scheme already."""

    def init_api_root(api_root: str | None = None, api_is_dev: bool | None = None) -> tuple[bool, str]:
        if api_root:
            return api_is_dev is None or api_is_dev, api_root
        return True, f"{address}/bigquery/v2"

    module.init_api_root = init_api_root  # type: ignore[attr-defined]


def _discovery_client(address: str, module: ModuleType) -> None:
    """`BigQueryHook.get_conn`, behind get_records and the check operators, does not look at the variable."""
    build: Callable[..., Any] = module.build

    @functools.wraps(build)
    def build_local(service: str, version: str, *args: Any, **kwargs: Any) -> Any:
        if service == "bigquery":
            kwargs["client_options"] = {"api_endpoint": f"{address}/bigquery/v2/"}
            # httplib2 without PySocks fails when there is a proxy, also for a host in NO_PROXY
            kwargs["http"].http.proxy_info = None
        return build(service, version, *args, **kwargs)

    module.build = build_local  # type: ignore[attr-defined]


def _row_iterator(_: str, module: ModuleType) -> None:
    """Data frames, as of the column and table checks, come over the Storage API with TLS; REST will do."""

    def should_use_bqstorage(*_: object, **__: object) -> bool:
        return False

    module.RowIterator._should_use_bqstorage = should_use_bqstorage


def _tasks_client(address: str, module: ModuleType) -> None:
    """The client knows no emulator: here it gets a channel to it, without TLS and credentials."""

    def get_conn(self: Any) -> Any:
        import grpc  # noqa: PLC0415  module has imported both already
        from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport  # noqa: PLC0415

        if self._client is None:
            # a proxy of the environment has no way to this machine
            channel = grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
            self._client = module.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))
        return self._client

    module.CloudTasksHook.get_conn = get_conn
