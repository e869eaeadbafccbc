"""Make the auth of an API from a connection. `MAKERS` has one function for each kind."""

from collections.abc import Callable, Mapping
from importlib import import_module

import botocore.credentials

from windrow.connect.fields import CERTIFICATE
from windrow.connect.given import Given
from windrow.connect.pool import pool
from windrow.http import certificate
from windrow.http.assertion import JwtGrant, SelfSigned, Signer
from windrow.http.auth import Auth, NoAuth, StaticToken
from windrow.http.consent import Consent
from windrow.http.keys import Basic, HeaderKey, QueryKey
from windrow.http.oauth import BasicClientCredentials, ClientCredentials, RefreshToken
from windrow.http.sigv4 import Credentials, SigV4
from windrow.model.redact import know

_LEASE_S = 30.0
"""This much longer than the timeout of a call, a process keeps the right to refresh a consent."""


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
    seal = given.platform.seal(given.conn_id) if given.platform else None
    if seal is None:
        raise given.refuse(
            "has a refresh_token, but Airflow has no valid Fernet key to encrypt it in MongoDB",
            "Set AIRFLOW__CORE__FERNET_KEY, with the same value for all components of Airflow.",
        )
    consent = Consent(
        given.store,
        seal,
        given["login"],
        given["refresh_token"],
        lease_s=given.limits.timeout_s + _LEASE_S,
    )
    return RefreshToken(
        given["token_path"],
        given["login"],
        given.get("password"),
        consent,
        with_basic=given.get("token_auth") == "basic",
        fields=given.some("scope"),
        **given.settings,
    )


def _jwt(given: Given) -> Auth:
    token_path = given.get("token_path")
    if token_path and "://" not in token_path and not given.get("audience"):
        raise given.refuse(
            "has a token_path without a host, but no 'audience'", "Set audience, or a complete token_path."
        )
    audience = given.get("audience") or token_path
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
    return JwtGrant(token_path, signer, **given.settings) if token_path else SelfSigned(signer)


def _sigv4(given: Given) -> Auth:
    keys: Credentials
    if conn_id := given.get("aws_conn_id"):
        if given.some("login", "password", "session_token"):
            raise given.refuse("has aws_conn_id and also login, password or session_token", "Remove one of them.")
        found = given.platform.aws_credentials(conn_id, given["region"]) if given.platform else None
        if found is None:
            raise given.refuse_field("aws_conn_id", f"The Airflow connection '{conn_id}' has no AWS credentials.")
        keys = found
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
        know(*(str(value) for value in given.get("options", {}).values()))
        raise given.refuse(f"has a factory {place} that failed: {type(error).__name__}: {error}", "Fix it.") from None
    if not isinstance(made, Auth):
        raise given.refuse_field("factory", f"It returned {type(made).__name__}, not a windrow.http.auth.Auth.")
    return made


MAKERS: Mapping[str, Callable[[Given], Auth]] = {
    "none": lambda given: NoAuth(),
    "bearer": lambda given: StaticToken(given["token"]),
    "basic": _basic,
    "header_key": lambda given: HeaderKey(given["header"], given["api_key"], given.get("prefix")),
    "query_key": lambda given: QueryKey(given["param"], given["api_key"]),
    "client_credentials": _client_credentials,
    "refresh_token": _refresh_token,
    "jwt": _jwt,
    "pool": pool,
    "sigv4": _sigv4,
    "certificate": lambda given: NoAuth(),
    "custom": _custom,
}
"""What makes each kind of auth, from fields that are valid one by one."""


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
