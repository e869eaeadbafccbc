"""Read the auth of an API from an Airflow connection.

`KINDS` is the table of all kinds of auth: which fields each requires and allows, and what makes it. `FIELDS` describes
the fields. docs/connections.md and the connection form of Airflow are made from both tables.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from airflow.sdk.crypto import get_fernet
from airflow.sdk.definitions.connection import Connection
from cryptography.fernet import InvalidToken

from windrow.airflow.hooks import unusable
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
from windrow.model.redact import SHORTEST, know
from windrow.model.stream import CredentialKind, Stream

STANDARD = ("login", "password")
"""Fields that every Airflow connection has; all others are in the extra."""
_LEASE_S = 30.0
"""This much longer than the timeout of a call, a process keeps the right to refresh a consent."""


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
        "of the signature: RS256 (the default), ES256, ...",
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
    "client_key_password": Field("Password of the client key", "if the key is encrypted", secret=True),
    "factory": Field("Factory", "`module:name` of a class or function that returns a `windrow.http.auth.Auth`"),
    "options": Field("Options", "JSON object that the factory gets as `options`", _object, secret=True),
    "tokens": Field(
        "Tokens", 'list of tokens, each a string or `{"token": "...", "owner": "..."}`', _as_it_is, secret=True
    ),
    "rate_limits": Field("Rate limits", "limits of each owner, see docs/clouds.md", _as_it_is),
    "points_per_minute": Field("Points per minute", "the same as `per_minute` in rate_limits", _as_it_is),
}
CERTIFICATE = ("client_cert", "client_key", "client_key_password")
"""Fields that every kind allows."""


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


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of auth. The maker gets validated fields; it may raise ValueError for a combination."""

    meaning: str
    make: Callable[[Given], Auth]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields that it uses."""
        return (*self.required, *self.optional)


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
    if given.store is None:
        return NoAuth()
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
    from botocore.credentials import Credentials as Keys  # noqa: PLC0415 - only this kind needs botocore

    keys: Credentials
    if conn_id := given.get("aws_conn_id"):
        from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook  # noqa: PLC0415 - takes seconds

        if given.some("login", "password", "session_token"):
            raise given.refuse("has aws_conn_id and also login, password or session_token", "Remove one of them.")
        keys = AwsBaseHook(conn_id).get_session(region_name=given["region"]).get_credentials()
        if keys is None:
            raise given.refuse_field("aws_conn_id", f"The Airflow connection '{conn_id}' has no AWS credentials.")
    elif len(given.some("login", "password")) == 2:
        keys = Keys(given["login"], given["password"], given.get("session_token") or None)
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


KINDS: Mapping[str, Kind] = {
    "none": Kind("No credential.", lambda given: NoAuth(), optional=("login",)),
    "bearer": Kind("A bearer token.", lambda given: StaticToken(given["token"]), ("token",), ("login",)),
    "basic": Kind("HTTP Basic.", _basic, ("login",), ("password",)),
    "header_key": Kind(
        "An API key in a header.",
        lambda given: HeaderKey(given["header"], given["api_key"], given.get("prefix")),
        ("api_key", "header"),
        ("prefix", "login"),
    ),
    "query_key": Kind(
        "An API key in a query parameter.",
        lambda given: QueryKey(given["param"], given["api_key"]),
        ("api_key", "param"),
        ("login",),
    ),
    "client_credentials": Kind(
        "OAuth 2.0 client credentials: login is the client id, password the client secret.",
        _client_credentials,
        ("login", "password", "token_path"),
        ("token_auth", "scope", "audience"),
    ),
    "refresh_token": Kind(
        "OAuth 2.0 refresh token, also one that changes at each use: login is the client id, password the secret.",
        _refresh_token,
        ("login", "password", "token_path", "refresh_token"),
        ("token_auth", "scope"),
    ),
    "jwt": Kind(
        "A JWT of a service account, signed with its private key: login is the issuer. It is exchanged at token_path "
        "for an access token; without token_path it is the bearer token itself.",
        _jwt,
        ("login", "private_key"),
        ("token_path", "scope", "audience", "subject", "key_id", "algorithm"),
    ),
    "pool": Kind(
        "Several tokens, of which the one with the most calls left signs. Some sources add fields for App tokens.",
        _pool,
        (),
        ("tokens", "rate_limits", "points_per_minute", "login"),
    ),
    "sigv4": Kind(
        "AWS Signature Version 4, with login (access key id) and password (secret) or with aws_conn_id.",
        _sigv4,
        ("service", "region"),
        ("login", "password", "session_token", "aws_conn_id"),
    ),
    "certificate": Kind("A client certificate alone. Each other kind may have one too.", lambda given: NoAuth()),
    "custom": Kind(
        "Your own class: it is called with login and password (if set), options, name and patience_s.",
        _custom,
        ("factory",),
        ("options", "login", "password"),
    ),
}
"""In kinds that do not send ``login``, it is the name of the account that quotas are counted for."""
AUTH_FIELDS = {"auth", *FIELDS} - set(STANDARD)
"""Fields of the extra that are about auth."""


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
    given = {name: extra[name] for name in (*FIELDS, *stream.credentials) if extra.get(name) is not None}
    given |= {name: value for name in STANDARD if (value := getattr(connection, name))}
    know(*(value for name, value in given.items() if isinstance(value, str) and name in FIELDS and FIELDS[name].secret))
    for one in stream.credentials:
        if not isinstance(given.get(one, []), list):
            raise unusable(conn_id, f"has an invalid '{one}'", f'It must be a list: {{"{one}": [...]}}.')
    name: Any = extra.get("auth")
    if name is None:
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
    return KINDS[given.kind].make(given)


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
