"""Keep Google's clients on the emulators, where the emulator variables alone do not.

Three ways lead to the real BigQuery although BIGQUERY_EMULATOR_HOST is set (providers-google 22.8.0). Each is
closed when its module is imported, so this module itself imports nothing heavy.
"""

import functools
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import wrapt

VARIABLE = "BIGQUERY_EMULATOR_HOST"


def keep_on_emulators(environ: Mapping[str, str]) -> None:
    """Mend the clients as they are imported; without BIGQUERY_EMULATOR_HOST do nothing."""
    address = environ.get(VARIABLE, "").rstrip("/")
    if not address:
        return
    for module, mend in (
        ("gcloud.aio.bigquery.bigquery", _aio_client),
        ("airflow.providers.google.cloud.hooks.bigquery", _discovery_client),
        ("google.cloud.bigquery.table", _row_iterator),
    ):
        wrapt.register_post_import_hook(functools.partial(mend, address), module)


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
