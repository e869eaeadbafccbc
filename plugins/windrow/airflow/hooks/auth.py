"""Read the auth of an API from an Airflow connection, and make it. `windrow.airflow.hooks.fields` has the tables."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import botocore.credentials
from airflow.sdk.crypto import get_fernet
from airflow.sdk.definitions.connection import Connection
from cryptography.fernet import InvalidToken

from windrow.airflow.hooks import unusable
from windrow.airflow.hooks.fields import CERTIFICATE, FIELDS, KINDS, STANDARD
from windrow.http import certificate
from windrow.http.assertion import JwtGrant, SelfSigned, Signer
from windrow.http.auth import Auth, NoAuth, StaticToken, can_be_sent
from windrow.http.client import Limits
from windrow.http.consent import Consent, ConsentStore
from windrow.http.keys import Basic, HeaderKey, QueryKey
from windrow.http.oauth import BasicClientCredentials, ClientCredentials, RefreshToken
from windrow.http.pool import Credential, TokenPool, by_owner
from windrow.http.sigv4 import Credentials, SigV4
from windrow.model.errors import ConnectionUnusable
from windrow.model.rate_limits import RateLimits, stated
from windrow.model.redact import know
from windrow.model.stream import CredentialKind, Stream

_LEASE_S = 30.0
"""This much longer than the timeout of a call, a process keeps the right to refresh a consent."""


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


def _basic(given: Given) -> Auth:
    try:
        return Basic(given["login"], given.get("password"))
    except ValueError as error:
        raise given.refuse(f"cannot be used: {error}", "Fix login and password.") from None


def _client_credentials(given: Given) -> Auth:
    grant = BasicClientCredentials if given.get("token_auth") == "basic" else ClientCredentials
    client = (given["token_path"], given["login"], given["password"])
    return grant(*client, fields=given.some("scope", "audience"), **given.settings)


def _refresh_token(given: Given) -> Auth:
    assert given.store is not None  # noqa: S101 - only `pool_size` has no store, and it makes no auth
    if not get_fernet().is_encrypted:
        raise given.refuse(
            "has a refresh_token, but Airflow has no Fernet key to encrypt it in MongoDB",
            "Set AIRFLOW__CORE__FERNET_KEY, with the same value for all components of Airflow.",
        )
    consent = Consent(
        given.store,
        _Fernet(given.conn_id),
        given["login"],
        given["refresh_token"],
        lease_s=given.limits.timeout_s + _LEASE_S,
    )
    return RefreshToken(
        given["token_path"],
        given["login"],
        given["password"],
        consent,
        with_basic=given.get("token_auth") == "basic",
        fields=given.some("scope"),
        **given.settings,
    )


@dataclass(frozen=True, slots=True)
class _Fernet:
    """Encrypts with the Fernet key of Airflow. Old keys of the list decrypt, as they do for connections."""

    conn_id: str

    def seal(self, text: str) -> str:
        return get_fernet().encrypt(text.encode()).decode()

    def unseal(self, sealed: str) -> str:
        try:
            return get_fernet().decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise unusable(
                self.conn_id,
                "has a refresh token in MongoDB that Airflow's Fernet key does not decrypt",
                "Add the earlier key to AIRFLOW__CORE__FERNET_KEY (new,old), or give consent again and set the new "
                "refresh_token.",
            ) from None


def _jwt(given: Given) -> Auth:
    audience = given.get("audience") or given.get("token_path")
    claims = {"aud": audience, "sub": given.get("subject"), "scope": given.get("scope")}
    try:
        signer = Signer(
            given["login"],
            given["private_key"],
            {name: value for name, value in claims.items() if value},
            key_id=given.get("key_id"),
            algorithm=given.get("algorithm") or "RS256",
        )
    except ValueError as error:
        raise given.refuse_field("private_key", f"{error}.") from None
    return JwtGrant(given["token_path"], signer, **given.settings) if given.get("token_path") else SelfSigned(signer)


def _sigv4(given: Given) -> Auth:
    keys: Credentials
    if conn_id := given.get("aws_conn_id"):
        from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook  # noqa: PLC0415 - takes seconds

        if given.some("login", "password", "session_token"):
            raise given.refuse("has aws_conn_id and also login, password or session_token", "Remove one of them.")
        keys = AwsBaseHook(conn_id).get_session(region_name=given["region"]).get_credentials()
        if keys is None:
            raise given.refuse_field("aws_conn_id", f"The Airflow connection '{conn_id}' has no AWS credentials.")
    elif len(given.some("login", "password")) == 2:
        keys = botocore.credentials.Credentials(given["login"], given["password"], given.get("session_token") or None)
    else:
        raise given.refuse(
            "has auth 'sigv4' but no AWS keys", "Set login (access key id) and password (secret), or aws_conn_id."
        )
    return SigV4(keys, given["service"], given["region"])


def _custom(given: Given) -> Auth:
    place = given["factory"]
    module, _, name = place.partition(":")
    try:
        factory = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise given.refuse_field(
            "factory", f"It must be 'module:name' of something that workers can import ({error})."
        ) from None
    try:
        made = factory(**given.some("login", "password"), options=given.get("options", {}), **given.settings)
    except (TypeError, ValueError, KeyError) as error:
        raise given.refuse(f"has a factory {place} that failed: {type(error).__name__}: {error}", "Fix it.") from None
    if not isinstance(made, Auth):
        raise given.refuse_field("factory", f"It returned {type(made).__name__}, not a windrow.http.auth.Auth.")
    return made


def _pool(given: Given) -> Auth:
    found = credentials(given)
    if not found:
        raise given.refuse("has auth 'pool' but no tokens", "Set tokens, a list.")
    worker, workers = given.share
    owners = by_owner(found)
    mine = [credential for owned in owners[worker::workers] for credential in owned]
    others = [credential for place, owned in enumerate(owners) if place % workers != worker for credential in owned]
    return TokenPool(mine, stand_by=others, rate_limits=_rate_limits(given), reserved=given.reserved, **given.settings)


MAKERS: Mapping[str, Callable[[Given], Auth]] = {
    "none": lambda given: NoAuth(),
    "bearer": lambda given: StaticToken(given["token"]),
    "basic": _basic,
    "header_key": lambda given: HeaderKey(given["header"], given["api_key"], given.get("prefix")),
    "query_key": lambda given: QueryKey(given["param"], given["api_key"]),
    "client_credentials": _client_credentials,
    "refresh_token": _refresh_token,
    "jwt": _jwt,
    "pool": _pool,
    "sigv4": _sigv4,
    "certificate": lambda given: NoAuth(),
    "custom": _custom,
}
"""What makes each kind of auth, from fields that are valid one by one."""


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
    return Given(conn_id, name, fields, limits, stream, store, share, reserved)


def make(given: Given) -> Auth:
    """Make the auth of a connection.

    :raises ConnectionUnusable: as `read`.
    """
    return MAKERS[given.kind](given)


def client_certificate(given: Given) -> tuple[str, str | None, str | None] | None:
    """Return the client certificate of a connection: paths of certificate and key, and the password of the key.

    :raises ConnectionUnusable: it cannot be used.
    """
    path, key, password = (given.get(name, None) for name in CERTIFICATE)
    if path is None:
        if key or password or given.kind == "certificate":
            raise given.refuse("has no client_cert", "Set client_cert to the path of the client certificate (PEM).")
        return None
    try:
        certificate.check(path, key, password)
    except ValueError as error:
        raise given.refuse(
            f"has an invalid 'client_cert': {error}",
            "Set client_cert to a valid certificate in PEM format, and client_key to its key.",
        ) from None
    return path, key, password


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


def credentials(given: Given) -> list[Credential]:
    """Return the credentials of a pool.

    :raises ConnectionUnusable: an entry is invalid.
    """
    lists = {name: given.get(name, []) for name in ("tokens", *given.stream.credentials)}
    if not isinstance(lists["tokens"], list):
        raise given.refuse_field("tokens", 'It must be a list: {"tokens": [...]}.')
    found = list(_tokens(given, lists["tokens"]))
    for name, kind in given.stream.credentials.items():
        found += (_credential(given, f"{name}[{place}]", kind, entry) for place, entry in enumerate(lists[name]))
    return found


def _tokens(given: Given, tokens: list[Any]) -> Iterable[Credential]:
    """Read the tokens of the pool. Of two entries for one token the one with an owner is used.

    No message may show a token.
    """
    found: dict[str, Credential] = {}
    for number, token in enumerate(tokens, 1):
        place = f"token {number} of {len(tokens)}"
        entry = token if isinstance(token, dict) else {"token": token}
        text, owner = entry.get("token"), entry.get("owner", "")
        if not isinstance(text, str) or not can_be_sent(text.strip()) or not isinstance(owner, str) or len(entry) > 2:
            raise given.refuse(
                f"has an invalid {place} in 'tokens'", 'It must be a string, or {"token": "...", "owner": "..."}.'
            )
        if owner or text.strip() not in found:
            label = f"{place} ({owner})" if owner else place
            found[text.strip()] = Credential(StaticToken(text.strip()), label, owner)
    return found.values()


def _credential(given: Given, place: str, kind: CredentialKind, entry: object) -> Credential:
    """Make a credential of a kind that only this API has. No message may show its values."""
    try:
        if not isinstance(entry, dict):
            raise TypeError("it must be a JSON object")
        made: Credential = kind.load()(entry, **given.settings)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)[:80]
        raise given.refuse(
            f"has an invalid entry {place}: {reason}", f"Required fields: {', '.join(kind.fields)}."
        ) from None
    return made


def _rate_limits(given: Given) -> RateLimits:
    told = given.get("rate_limits", {})
    try:
        if not isinstance(told, dict):
            raise ValueError("it must be a JSON object")
        if "points_per_minute" in given.fields:
            told = {"per_minute": given["points_per_minute"]} | told
        return stated(given.stream.rate_limits, told)
    except ValueError as error:
        raise given.refuse(
            f"has an invalid 'rate_limits': {error}", 'Fix it in the extra. Example: {"per_minute": 900}.'
        ) from None
