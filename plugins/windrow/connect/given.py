"""Read and check the auth fields of a connection, by the tables of `windrow.connect.fields`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from windrow.connect import unusable
from windrow.connect.fields import CERTIFICATE, FIELDS, KINDS, STANDARD
from windrow.http.client import Limits
from windrow.http.consent import ConsentStore, Seal
from windrow.http.sigv4 import Credentials
from windrow.model.errors import ConnectionUnusable
from windrow.model.redact import know
from windrow.model.stream import Stream


class Connection(Protocol):
    """The fields of an Airflow connection."""

    @property
    def host(self) -> str | None: ...  # noqa: D102
    @property
    def schema(self) -> str | None: ...  # noqa: D102
    @property
    def port(self) -> int | None: ...  # noqa: D102
    @property
    def login(self) -> str | None: ...  # noqa: D102
    @property
    def password(self) -> str | None: ...  # noqa: D102
    @property
    def extra(self) -> str | None: ...  # noqa: D102


class Platform(Protocol):
    """What the place where Windrow runs provides: Airflow, or a laptop."""

    def seal(self, conn_id: str) -> Seal | None:
        """Return what encrypts the tokens of a consent; None if there is no valid key."""

    def aws_credentials(self, conn_id: str, region: str) -> Credentials | None:
        """Return the credentials of an Airflow connection of type aws; None if it has none."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a connection says of its auth, and what the makers need besides."""

    conn_id: str
    kind: str
    fields: Mapping[str, Any] = field(repr=False)
    limits: Limits
    stream: Stream
    store: ConsentStore | None = None
    share: tuple[int, int] = (0, 1)
    reserved: float = 0.0
    platform: Platform | None = field(default=None, repr=False)

    def refuse(self, what: str, advice: str) -> ConnectionUnusable:
        """Make the error for a connection that cannot be used."""
        return unusable(self.conn_id, what, advice)

    def refuse_field(self, name: str, why: str) -> ConnectionUnusable:
        """Make the error for an invalid field."""
        return self.refuse(f"has an invalid '{name}'", why)

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def get(self, name: str, default: Any = "") -> Any:
        """Return the value of an optional field."""
        return self.fields.get(name, default)

    def some(self, *names: str) -> dict[str, Any]:
        """Return those of these fields that are set."""
        return {name: self.fields[name] for name in names if name in self.fields}

    @property
    def settings(self) -> dict[str, Any]:
        """What every token flow gets."""
        return {"name": self.conn_id, "patience_s": self.limits.patience_s}


def read(
    conn_id: str,
    connection: Connection,
    extra: Mapping[str, Any],
    stream: Stream,
    limits: Limits,
    *,
    store: ConsentStore | None = None,
    share: tuple[int, int] = (0, 1),
    reserved: float = 0.0,
    platform: Platform | None = None,
) -> Given:
    """Read and check the auth of a connection. Make it with `make`.

    :param store: where consents are stored; without it, no consent is opened.
    :raises ConnectionUnusable: a field is missing, invalid, unknown, or not used by the kind.
    """
    given = {name: extra[name] for name in (*FIELDS, *stream.credentials) if name in extra}
    given |= {name: value for name in STANDARD if (value := getattr(connection, name))}
    know(*(value for name, value in given.items() if isinstance(value, str) and name in FIELDS and FIELDS[name].secret))
    for one in stream.credentials:
        if not isinstance(given.get(one, []), list):
            raise unusable(conn_id, f"has an invalid '{one}'", f'It must be a list: {{"{one}": [...]}}.')
    name: Any = extra.get("auth", "")
    if name == "":
        name = _inferred(conn_id, given, stream)
    elif not isinstance(name, str) or name not in KINDS:
        raise unusable(conn_id, f"has an unknown 'auth': {name!r:.40}", f"Valid values are {sorted(KINDS)}.")
    kind = KINDS[name]
    allowed = {*kind.fields, *CERTIFICATE, *(stream.credentials if name == "pool" else ())}
    unused = sorted(one for one, value in given.items() if one not in allowed and value not in ("", []))
    if unused:
        raise unusable(
            conn_id,
            f"has fields that auth '{name}' does not use: {unused}",
            f"Remove them, or set 'auth' in the extra to another kind. Auth '{name}' uses {sorted(allowed)}.",
        )
    missing = [one for one in kind.required if given.get(one) is None]
    if missing:
        raise unusable(
            conn_id,
            f"has auth '{name}' but {' and '.join(f'no {one!r}' for one in missing)}",
            " ".join(f"Set {one}: {FIELDS[one].meaning}." for one in missing),
        )
    fields = {}
    for one, value in given.items():
        known = FIELDS.get(one)
        if one not in allowed or (value == "" and one not in kind.required):
            continue
        try:
            fields[one] = known.read(value) if known else value
            if known and known.choices and fields[one] not in known.choices:
                raise ValueError(f"It must be one of {', '.join(known.choices)}.")
        except ValueError as error:
            raise unusable(conn_id, f"has an invalid '{one}'", str(error)) from None
    return Given(conn_id, name, fields, limits, stream, store, share, reserved, platform)


def _inferred(conn_id: str, given: Mapping[str, Any], stream: Stream) -> str:
    """Return the kind of a connection without ``auth``, as version 0.1 understood it."""
    if any(given.get(name) for name in ("tokens", *stream.credentials)):
        return "pool"
    for name, kind in (("token", "bearer"), ("refresh_token", "refresh_token"), ("token_path", "client_credentials")):
        if name in given:
            return kind
    unclear = sorted(name for name, value in given.items() if name not in CERTIFICATE and value not in ("", []))
    if unclear:
        fitting = [name for name, kind in KINDS.items() if set(unclear) <= set(kind.fields)]
        raise unusable(
            conn_id,
            f"has {', '.join(unclear)}, but no 'auth' that says how to use it",
            f"Set 'auth' in the extra to one of {fitting or sorted(KINDS)} (docs/connections.md).",
        )
    return "certificate" if given.get("client_cert") else "none"
