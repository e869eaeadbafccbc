"""The fields of a connection to an API, as data: all kinds of auth, and the fields that each uses.

Error messages, docs/connections.md and the connection form of Airflow are made from these tables.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from windrow.http.auth import can_be_sent
from windrow.model.redact import SHORTEST

STANDARD = ("login", "password")
"""Fields that every Airflow connection has; all others are in the extra."""


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("It must be a string that is not empty.")
    return value.strip()


def _key(value: object) -> str:
    text = _text(value)
    if not can_be_sent(text):
        raise ValueError("It must be a string of visible ASCII characters, without blanks and line breaks.")
    return text


def _hidden_key(value: object) -> str:
    key = _key(value)
    if len(key) < SHORTEST:
        raise ValueError(f"It must have {SHORTEST} characters or more: a shorter one cannot be removed from messages.")
    return key


def _name(value: object) -> str:
    name = _key(value)
    if any(sign in '()<>@,;:\\"/[]?={}&#%+' for sign in name):
        raise ValueError("It must be a name like X-API-Key or api_key.")
    return name


def _pem(value: object) -> str:
    text = _text(value).replace("\\n", "\n")  # as environment variables often have it
    if not text.startswith("-----BEGIN"):
        raise ValueError("It must be a private key in PEM format, which begins with -----BEGIN.")
    return text + "\n"


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("It must be a JSON object.")
    return value


def _as_it_is(value: object) -> object:
    return value


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a connection. ``read`` raises ValueError, saying what the value must be."""

    label: str
    meaning: str
    read: Callable[[object], Any] = _text
    secret: bool = False
    choices: tuple[str, ...] = ()
    type: str = "string"
    """Type of its JSON value, for the form."""


FIELDS: Mapping[str, Field] = {
    "login": Field("Login", "login or client id", _as_it_is),
    "password": Field("Password", "password, client secret or AWS secret access key", _as_it_is, secret=True),
    "token": Field("Token", "bearer token that was created by hand", _key, secret=True),
    "api_key": Field("API key", "the key", _hidden_key, secret=True),
    "header": Field("Header of the API key", "name of the header, like `X-API-Key`", _name),
    "prefix": Field("Prefix of the API key", "word before the key in the header, like `Token`", _key),
    "param": Field("Query parameter of the API key", "name of the query parameter, like `api_key`", _name),
    "token_path": Field(
        "Token endpoint",
        "path below the host, or a complete URL, like `/oauth/token` or `https://oauth2.googleapis.com/token`",
    ),
    "token_auth": Field(
        "Client authentication",
        "how the token endpoint gets id and secret: `form` (the default) or `basic`",
        choices=("form", "basic"),
    ),
    "scope": Field("Scope", "scopes to request, separated by blanks"),
    "audience": Field("Audience", "audience to request; for `jwt` the claim `aud` (default: token_path)"),
    "refresh_token": Field("Refresh token", "refresh token of a person who has given consent", _key, secret=True),
    "private_key": Field("Private key", "private key in PEM format", _pem, secret=True),
    "key_id": Field("Key id", "id of the private key (`kid`)"),
    "subject": Field("Subject", "the claim `sub`: the user to act for"),
    "algorithm": Field(
        "Algorithm",
        "algorithm of the signature: RS256 (the default), ES256, ...",
        choices=("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA"),
    ),
    "service": Field("AWS service", "service name in the signature, like `execute-api`", _key),
    "region": Field("AWS region", "region in the signature, like `eu-central-1`", _key),
    "session_token": Field("AWS session token", "session token of temporary keys", _key, secret=True),
    "aws_conn_id": Field(
        "AWS connection", "Airflow connection of type aws with the keys, in place of login and password"
    ),
    "client_cert": Field("Client certificate", "path of a PEM file, readable by every worker"),
    "client_key": Field("Client key", "path of the PEM file of its private key, if it is in another file"),
    "client_key_password": Field(
        "Password of the client key", "password of client_key, if it is encrypted", secret=True
    ),
    "factory": Field("Factory", "`module:name` of a class or function that returns a `windrow.http.auth.Auth`"),
    "options": Field("Options", "JSON object that the factory gets as `options`", _object, secret=True, type="object"),
    "tokens": Field(
        "Tokens",
        'list of tokens, each a string or `{"token": "...", "owner": "..."}`',
        _as_it_is,
        secret=True,
        type="array",
    ),
    "rate_limits": Field("Rate limits", "limits of each owner, see docs/clouds.md", _as_it_is, type="object"),
    "points_per_minute": Field("Points per minute", "as `per_minute` in rate_limits", _as_it_is, type="number"),
}
CERTIFICATE = ("client_cert", "client_key", "client_key_password")
"""Fields that every kind allows."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of auth, and the fields that it uses."""

    meaning: str
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields that it uses."""
        return (*self.required, *self.optional)


KINDS: Mapping[str, Kind] = {
    "none": Kind("No credential.", optional=("login",)),
    "bearer": Kind("A bearer token.", ("token",), ("login",)),
    "basic": Kind("HTTP Basic.", ("login",), ("password",)),
    "header_key": Kind("An API key in a header.", ("api_key", "header"), ("prefix", "login")),
    "query_key": Kind("An API key in a query parameter.", ("api_key", "param"), ("login",)),
    "client_credentials": Kind(
        "OAuth 2.0 client credentials. Login is the client id, password the client secret.",
        ("login", "password", "token_path"),
        ("token_auth", "scope", "audience"),
    ),
    "refresh_token": Kind(
        "OAuth 2.0 refresh token, also one that changes at each use. Login is the client id, password the client "
        "secret; a public client has none.",
        ("login", "token_path", "refresh_token"),
        ("password", "token_auth", "scope"),
    ),
    "jwt": Kind(
        "A JWT of a service account, signed with its private key. Login is the issuer. It is exchanged at token_path "
        "for an access token; without token_path it is the bearer token itself.",
        ("login", "private_key"),
        ("token_path", "scope", "audience", "subject", "key_id", "algorithm"),
    ),
    "pool": Kind(
        "Several tokens, of which the one with the most calls left signs. Some sources add fields for App tokens.",
        (),
        ("tokens", "rate_limits", "points_per_minute", "login"),
    ),
    "sigv4": Kind(
        "AWS Signature Version 4, with login (access key id) and password (secret access key), or with aws_conn_id.",
        ("service", "region"),
        ("login", "password", "session_token", "aws_conn_id"),
    ),
    "certificate": Kind("A client certificate alone. All other kinds allow one too."),
    "custom": Kind(
        "Your own class. It is called with login and password (if set), options, name and patience_s.",
        ("factory",),
        ("options", "login", "password"),
    ),
}
"""In kinds that do not send ``login``, it is the name of the account that quotas are counted for."""
AUTH_FIELDS = {"auth", *FIELDS} - set(STANDARD)
"""Fields of the extra that are about auth."""
LIMITS: Mapping[str, Field] = {
    "connections": Field("Connections", "maximum concurrent calls (16)", _as_it_is, type="integer"),
    "rate_per_s": Field(
        "Rate", "maximum calls per second of all tasks together, evenly spaced (no limit)", _as_it_is, type="number"
    ),
    "timeout_s": Field("Timeout", "timeout of one attempt, in seconds (30)", _as_it_is, type="number"),
    "patience_s": Field(
        "Patience",
        "longest pause, in seconds, to wait inside the task; for a longer one the task defers (60)",
        _as_it_is,
        type="number",
    ),
}
COMMON: Mapping[str, Field] = {
    **LIMITS,
    "proxy": Field(
        "Proxy",
        "URL of the proxy for this API, like `http://user:password@host:3128`, instead of that of HTTPS_PROXY",
        _as_it_is,
        secret=True,
    ),
    "ca_bundle": Field(
        "Certificate authorities",
        "PEM file or folder of the certificate authorities to trust, instead of that of REQUESTS_CA_BUNDLE",
        _as_it_is,
    ),
    "verify_tls": Field(
        "Verify TLS", "`false` accepts any certificate, and logs a warning in every run", _as_it_is, type="boolean"
    ),
    "origins": Field(
        "Other origins",
        'other origins that redirects and next pages may lead to, like `["https://api2.example.com"]`',
        _as_it_is,
        type="array",
    ),
    "expires_on": Field(
        "Expires on",
        "last day of the credential, like `2027-03-31`: the Harvest page counts the days",
        _as_it_is,
    ),
    "storage_origins": Field(
        "Storage origins",
        "origins of the storage hosts that export files may be downloaded from, without the credential of the API, "
        'like `["https://storage.googleapis.com"]`',
        _as_it_is,
        type="array",
    ),
    "quota": Field(
        "Quotas",
        'quotas that replace those of the source, like `{"shop.orders": {"units": 50000, "per": "day"}}`',
        _as_it_is,
        type="object",
    ),
}
"""Fields of the extra that are not about auth."""
