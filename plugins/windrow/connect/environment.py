"""Connections of the environment, read without Airflow: ``AIRFLOW_CONN_<ID>``, as JSON or as a URI."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from cryptography.fernet import Fernet, InvalidToken

from windrow.connect import unusable
from windrow.connect.api import Api
from windrow.http.consent import Seal
from windrow.http.sigv4 import Credentials
from windrow.model.errors import ConnectionUnusable
from windrow.model.redact import know

PREFIX = "AIRFLOW_CONN_"
_FERNET_KEY = "AIRFLOW__CORE__FERNET_KEY"


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a connection."""

    host: str | None = None
    schema: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    extra: str | None = field(default=None, repr=False)


class EnvironmentApi(Api):
    """Makes clients for the API of a connection in the environment.

    :param environment: variables, such as those of the process and of a file ``.env``.
    :param state: the folder with the key of stored tokens, if the environment has none.
    """

    def __init__(self, conn_id: str, environment: Mapping[str, str], state: Path | None = None) -> None:
        self.conn_id = conn_id
        self.platform = Laptop(environment, state)
        self._environment = environment

    def connection(self) -> Fields:
        """Return the connection.

        :raises ConnectionUnusable: it is not set, or invalid.
        """
        variable = f"{PREFIX}{self.conn_id.upper()}"
        text = self._environment.get(variable, "")
        if not text:
            others = [name for name in self._environment if name.startswith(PREFIX)]
            near = get_close_matches(variable, others, n=1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise ConnectionUnusable(
                f"The connection '{self.conn_id}' is not set.{meant}",
                advice=f"Set {variable} in the environment or in .env, like "
                '{"conn_type": "http", "host": "https://api.example.com", "extra": {"auth": "bearer", "token": "..."}} '
                "(docs/connections.md).",
            )
        try:
            fields = _of_json(text) if text.lstrip().startswith("{") else _of_uri(text)
        except (ValueError, TypeError, AttributeError):
            raise unusable(
                self.conn_id, f"in {variable} is not a valid Airflow connection", "Set it as JSON or as a URI."
            ) from None
        know(fields.password)
        return fields


class Laptop:
    """What a machine without Airflow provides: the key of the environment, or a key file beside the local store."""

    def __init__(self, environment: Mapping[str, str], state: Path | None) -> None:
        self._environment = environment
        self._state = state

    def seal(self, conn_id: str) -> Seal | None:
        """Return what encrypts the tokens of a consent; None if there is no valid key."""
        try:
            return _Key(conn_id, Fernet(self._key))
        except ValueError:
            return None

    def aws_credentials(self, conn_id: str, region: str) -> Credentials | None:
        """Return None: connections of type aws need Airflow. Set login and password instead."""
        return None

    @cached_property
    def _key(self) -> str:
        if key := self._environment.get(_FERNET_KEY, "").partition(",")[0]:
            return key
        if self._state is None:
            return Fernet.generate_key().decode()
        path = self._state / "windrow.key"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_bytes(Fernet.generate_key())
        return path.read_text()


@dataclass(frozen=True, slots=True)
class _Key:
    conn_id: str
    fernet: Fernet = field(repr=False)

    def seal(self, text: str) -> str:
        return self.fernet.encrypt(text.encode()).decode()

    def unseal(self, sealed: str) -> str:
        try:
            return self.fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise unusable(
                self.conn_id,
                "has a stored refresh token that the key does not decrypt",
                f"Set {_FERNET_KEY} to the earlier key, or give consent again with `windrow auth`.",
            ) from None


def _of_json(text: str) -> Fields:
    fields: dict[str, Any] = json.loads(text)
    extra = fields.get("extra")
    port = fields.get("port")
    return Fields(
        host=fields.get("host"),
        schema=fields.get("schema"),
        port=int(port) if port else None,
        login=fields.get("login"),
        password=fields.get("password"),
        extra=extra if isinstance(extra, str) else json.dumps({} if extra is None else extra),
    )


def _of_uri(text: str) -> Fields:
    parts = urlsplit(text)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Fields(
        host=unquote(parts.hostname or ""),
        schema=unquote(parts.path.lstrip("/")) or None,
        port=parts.port,
        login=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        extra=options.get("__extra__") or json.dumps(options),
    )
