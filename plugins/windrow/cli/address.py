"""Where MongoDB is: a URL, or an Airflow connection in the environment, read without Airflow."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from windrow.model.errors import ConnectionUnusable
from windrow.model.redact import know

URL_VARIABLE, CONNECTION_VARIABLE = "WINDROW_MONGO_URL", "AIRFLOW_CONN_MONGO_DEFAULT"
_ADVICE = (
    f"Pass --mongo mongodb://user:password@host:27017/windrow, or set {URL_VARIABLE}, or {CONNECTION_VARIABLE} as for "
    "Airflow."
)
_NOT_OPTIONS = {"srv", "allow_insecure", "ssl"}
"""Fields of Airflow's extra that are no options of a MongoDB URL, or that have a newer name."""


def place_of(given: str, environment: Mapping[str, str]) -> str:
    """Return where the URL of MongoDB is set."""
    return "--mongo" if given else URL_VARIABLE if environment.get(URL_VARIABLE) else CONNECTION_VARIABLE


def mongo_url(given: str, environment: Mapping[str, str]) -> str:
    """Return the URL of MongoDB: the given one, or that of the environment.

    :raises ConnectionUnusable: there is none, or it is invalid.
    """
    if url := given or environment.get(URL_VARIABLE, ""):
        know(unquote(urlsplit(url).password or ""))
        return url
    connection = environment.get(CONNECTION_VARIABLE, "")
    if not connection:
        raise ConnectionUnusable("The address of MongoDB is not set.", advice=_ADVICE)
    try:
        fields = json.loads(connection) if connection.lstrip().startswith("{") else _of_uri(connection)
        extra = fields.get("extra") or {}
        extra = json.loads(extra) if isinstance(extra, str) else dict(extra)
        return _url(fields, extra)
    except (ValueError, AttributeError, TypeError):
        raise ConnectionUnusable(f"{CONNECTION_VARIABLE} is not a valid Airflow connection.", advice=_ADVICE) from None


def _of_uri(uri: str) -> dict[str, Any]:
    parts = urlsplit(uri)
    return {
        "host": unquote(parts.hostname or ""),
        "port": parts.port,
        "login": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "schema": unquote(parts.path.lstrip("/")),
        "extra": dict(parse_qsl(parts.query)),
    }


def _url(fields: Mapping[str, Any], extra: Mapping[str, Any]) -> str:
    know(fields.get("password"))
    srv = str(extra.get("srv", "")).lower() == "true"
    login = (
        f"{quote(fields['login'], safe='')}:{quote(fields.get('password') or '', safe='')}@"
        if fields.get("login")
        else ""
    )
    port = f":{fields['port']}" if fields.get("port") and not srv else ""
    given = {name: value for name, value in extra.items() if name not in _NOT_OPTIONS}
    options = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in given.items()}
    if str(extra.get("ssl", "false")).lower() == "true":
        options["tls"] = "true"
    if str(extra.get("allow_insecure", "false")).lower() == "true" and options.get("tls") == "true":
        options["tlsAllowInvalidCertificates"] = "true"
    host = fields.get("host") or "localhost"
    query = f"?{urlencode(options)}" if options else ""
    return f"mongodb{'+srv' if srv else ''}://{login}{host}{port}/{fields.get('schema') or ''}{query}"
