"""Make a client of an API from an Airflow connection of type ``http``.

==================  =========================================================================================
field               meaning
==================  =========================================================================================
Schema, Host, Port  address of the API; Schema defaults to https. Host may also be a complete URL.
Login, Password     client id and client secret, if the API requires tokens
extra token_path    token endpoint: a path of the API, or a complete URL
extra token_auth    how to send id and secret to it: ``form`` (the default) or ``basic``
extra refresh_token refresh token of an account that has given consent (OAuth 2.0 refresh token grant)
extra token         one bearer token, created by hand
extra tokens        a pool of tokens, created by hand, each a string or ``{"token": "...", "owner": "..."}``. Tokens of
                    one owner share its limits; a token without an owner has limits of its own
extra rate_limits   of a pool: fields of `windrow.model.rate_limits.RateLimits` that override those of the source
extra points_per_minute  the same as ``per_minute`` in rate_limits
extra origins       other origins that redirects and next pages may lead to, like ``["https://api2.example.com"]``
extra quota         quotas of this account that override those of the source, like
                    ``{"shop.orders": {"units": 50000, "per": "pacific_day"}}``
extra connections   maximum concurrent calls (16)
extra rate_per_s    maximum calls per second, evenly spaced (no limit)
extra timeout_s     timeout of one attempt in seconds (30)
extra proxy         URL of the proxy for this API, like ``http://user:password@host:3128``. The default is the
                    environment's: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY
extra ca_bundle     PEM file or folder of the certificate authorities to trust. The default is the environment's:
                    REQUESTS_CA_BUNDLE, SSL_CERT_FILE
extra verify_tls    ``false`` accepts any certificate, and logs a warning in every run
extra expires_on    last day of the credential, like ``2027-03-31``, for the Harvest page: it counts the days
extra patience_s    longest pause, in seconds, to wait inside the task; for a longer one the task defers (60)
==================  =========================================================================================

A stream may declare more kinds of credentials for the pool, see `windrow.model.stream.CredentialKind`.
"""

import json
import math
from collections.abc import Iterable
from datetime import date
from typing import Any, Protocol
from urllib.parse import urlsplit

from airflow.sdk import BaseHook
from airflow.sdk.definitions.connection import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from windrow.airflow.hooks import no_connection
from windrow.http.auth import Auth, NoAuth, StaticToken, can_be_sent
from windrow.http.client import Client, Limits
from windrow.http.conditional import ConditionalRequests, HttpCache
from windrow.http.ledger import Ledger, QuotaStore
from windrow.http.network import Network
from windrow.http.oauth import BasicClientCredentials, ClientCredentials, RefreshToken
from windrow.http.pacing import PauseStore
from windrow.http.pool import Credential, TokenPool, by_owner
from windrow.model.errors import ConnectionUnusable
from windrow.model.quota import Quota, restated
from windrow.model.rate_limits import RateLimits, stated
from windrow.model.stream import CredentialKind, Stream

_LIMITS = ("connections", "rate_per_s", "timeout_s", "patience_s")
_POOL = ("tokens", "points_per_minute", "rate_limits")
_NETWORK = ("proxy", "ca_bundle", "verify_tls")
_EXTRAS = {
    "expires_on",
    "token",
    "token_path",
    "token_auth",
    "refresh_token",
    "quota",
    "origins",
    *_POOL,
    *_LIMITS,
    *_NETWORK,
}
_GRANTS: dict[str, type[ClientCredentials | BasicClientCredentials]] = {
    "form": ClientCredentials,
    "basic": BasicClientCredentials,
}


class State(QuotaStore, HttpCache, PauseStore, Protocol):
    """State that the clients of all runs share."""


class ApiHook(BaseHook):
    """Makes clients for the API of an Airflow connection."""

    def __init__(self, conn_id: str) -> None:
        super().__init__()
        self.conn_id = conn_id

    def client(
        self,
        stream: Stream,
        state: State,
        *,
        connections: int | None = None,
        share: tuple[int, int] = (0, 1),
        reserved: float = 0.0,
    ) -> Client:
        """Make a client for a stream of this API. The caller enters its context.

        :param state: stores the quotas and the earlier answers that all runs share.
        :param connections: overrides the value of the connection.
        :param share: number of this worker, from 0, and number of workers. Each worker gets its own owners of the pool.
        :param reserved: share of every limit that is left to other runs, from 0 to 1.
        :raises ConnectionUnusable: the connection does not exist, or a field is missing or invalid.
        """
        connection = self._connection()
        extra = self._extra(connection, stream)
        if connections is not None:
            extra["connections"] = connections
        limits = self._limits(extra)
        quotas = self._quotas(extra, stream.quotas)
        base_url = self._base_url(connection)
        return Client(
            base_url,
            self._pool(extra, stream, limits, share, reserved) or self._auth(connection, extra, limits),
            name=self.conn_id,
            limits=limits,
            policy=stream.policy,
            ledger=Ledger(state, quotas, account=connection.login or self.conn_id, reserved=reserved)
            if quotas
            else None,
            headers=stream.headers,
            origins=self._origins(extra),
            owner_only=stream.owner_only,
            conditional_requests=ConditionalRequests(state, base_url) if stream.conditional_requests else None,
            network=self._network(extra),
            pauses=state,
        )

    def pool_size(self, stream: Stream) -> int:
        """Return how many owners the pool of this connection has; 0 without a pool.

        :raises ConnectionUnusable: as `client`.
        """
        return len(by_owner(self._credentials(self._extra(self._connection(), stream), stream, Limits())))

    def cost(self, stream: Stream) -> tuple[Limits, list[Quota]]:
        """Return the limits and quotas that apply to this stream, without making a client.

        :raises ConnectionUnusable: as `client`.
        """
        extra = self._extra(self._connection(), stream)
        return self._limits(extra), self._quotas(extra, stream.quotas)

    def _connection(self) -> Connection:
        try:
            return self.get_connection(self.conn_id)
        except AirflowNotFoundException:
            raise no_connection(self.conn_id, "HTTP") from None

    def _extra(self, connection: Connection, stream: Stream) -> dict[str, Any]:
        """Read the extra. Airflow itself treats invalid JSON as an empty extra, which would drop tokens and limits."""
        try:
            extra = json.loads(connection.extra or "{}")
        except json.JSONDecodeError:
            extra = None
        if not isinstance(extra, dict):
            raise self._unusable("has an invalid extra", 'It must be a JSON object, like {"connections": 16}.')
        known = {*_EXTRAS, *stream.credentials}
        unknown = sorted(set(extra) - known)
        if unknown:
            raise self._unusable(f"has unknown fields in its extra: {unknown}", f"Valid fields are {sorted(known)}.")
        if "expires_on" in extra and not _is_date(extra["expires_on"]):
            raise self._unusable("has an invalid 'expires_on'", 'It must be a date, like "2027-03-31".')
        return extra

    def _base_url(self, connection: Connection) -> str:
        host = (connection.host or "").rstrip("/")
        if not host:
            raise self._unusable("has no host", "Set the host of the API.")
        if "://" not in host:
            bare = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host  # IPv6
            host = f"{connection.schema or 'https'}://{bare}"
        try:
            url = urlsplit(host)
            port = url.port
        except ValueError:
            raise self._unusable(
                "has an invalid host", "It must be a host name or a URL, like api.example.com."
            ) from None
        if url.username is not None:
            raise self._unusable("has a login in its host", "Move it to the fields login and password.")
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise self._unusable(f"has an invalid schema {url.scheme!r}", "It must be https or http.")
        if port and connection.port and port != connection.port:
            raise self._unusable(
                f"has two different ports: {port} in host, {connection.port} in port", "Remove one of them."
            )
        netloc = url.netloc if port or not connection.port else f"{url.netloc}:{connection.port}"
        return f"{url.scheme}://{netloc}{url.path}"

    def _origins(self, extra: dict[str, Any]) -> list[str]:
        given = extra.get("origins", [])
        for origin in given if isinstance(given, list) else [given]:
            try:
                parts = urlsplit(origin)
                good = parts.scheme in {"http", "https"} and parts.hostname and parts.path in {"", "/"}
                good = good and parts.port != 0 and parts.username is None and not parts.query
            except (ValueError, AttributeError, TypeError):
                good = False
            if not good or not isinstance(given, list):
                raise self._unusable(
                    f"has an invalid 'origins': {given!r:.80}",
                    'It must be a list of origins, like ["https://api2.example.com"].',
                )
        return list(given)

    def _pool(
        self, extra: dict[str, Any], stream: Stream, limits: Limits, share: tuple[int, int], reserved: float
    ) -> TokenPool | None:
        """Make the pool of a worker; None if the connection has no pool."""
        credentials = self._credentials(extra, stream, limits)
        if not credentials:
            return None
        worker, workers = share
        owners = by_owner(credentials)
        mine = [credential for owned in owners[worker::workers] for credential in owned]
        others = [credential for place, owned in enumerate(owners) if place % workers != worker for credential in owned]
        return TokenPool(
            mine,
            stand_by=others,
            name=self.conn_id,
            rate_limits=self._rate_limits(extra, stream),
            patience_s=limits.patience_s,
            reserved=reserved,
        )

    def _rate_limits(self, extra: dict[str, Any], stream: Stream) -> RateLimits:
        given = extra.get("rate_limits", {})
        try:
            if not isinstance(given, dict):
                raise ValueError("it must be a JSON object")
            if "points_per_minute" in extra:
                given = {"per_minute": extra["points_per_minute"]} | given
            return stated(stream.rate_limits, given)
        except ValueError as error:
            raise self._unusable(
                f"has an invalid 'rate_limits': {error}", 'Fix it in the extra. Example: {"per_minute": 900}.'
            ) from None

    def _credentials(self, extra: dict[str, Any], stream: Stream, limits: Limits) -> list[Credential]:
        given = {name: extra.get(name, []) for name in ("tokens", *stream.credentials)}
        for name, entries in given.items():
            if not isinstance(entries, list):
                raise self._unusable(f"has an invalid '{name}'", f'It must be a list: {{"{name}": [...]}}.')
        found = list(self._tokens(given["tokens"]))
        for name, kind in stream.credentials.items():
            found += (
                self._credential(f"{name}[{place}]", kind, entry, limits) for place, entry in enumerate(given[name])
            )
        return found

    def _tokens(self, tokens: list[Any]) -> Iterable[Credential]:
        """Read the tokens of the pool. Of two entries for one token the one with an owner is used.

        No message may show a token.
        """
        found: dict[str, Credential] = {}
        for number, token in enumerate(tokens, 1):
            place = f"token {number} of {len(tokens)}"
            given = token if isinstance(token, dict) else {"token": token}
            text, owner = given.get("token"), given.get("owner", "")
            if (
                not isinstance(text, str)
                or not can_be_sent(text.strip())
                or not isinstance(owner, str)
                or len(given) > 2
            ):
                raise self._unusable(
                    f"has an invalid {place} in 'tokens'", 'It must be a string, or {"token": "...", "owner": "..."}.'
                )
            if owner or text.strip() not in found:
                label = f"{place} ({owner})" if owner else place
                found[text.strip()] = Credential(StaticToken(text.strip()), label, owner)
        return found.values()

    def _credential(self, place: str, kind: CredentialKind, entry: object, limits: Limits) -> Credential:
        """Make a credential of a kind that only this API has. No message may show its values."""
        try:
            if not isinstance(entry, dict):
                raise TypeError("it must be a JSON object")
            made: Credential = kind.load()(entry, name=self.conn_id, patience_s=limits.patience_s)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)[:80]
            raise self._unusable(
                f"has an invalid entry {place}: {reason}", f"Required fields: {', '.join(kind.fields)}."
            ) from None
        return made

    def _auth(self, connection: Connection, extra: dict[str, Any], limits: Limits) -> Auth:
        token_path, refresh_token = extra.get("token_path"), extra.get("refresh_token")
        if "token" in extra:
            token = extra["token"]
            if token_path or not isinstance(token, str) or not can_be_sent(token.strip()):
                raise self._unusable("has an invalid 'token'", "It must be a string, and 'token_path' must not be set.")
            return StaticToken(token.strip())
        if not token_path:
            if refresh_token:
                raise self._unusable(
                    "has a 'refresh_token' but no 'token_path'",
                    'Set token_path in the extra. For Google it is "https://oauth2.googleapis.com/token".',
                )
            return NoAuth()
        if not isinstance(token_path, str):
            raise self._unusable("has an invalid 'token_path'", 'It must be a string, like "/oauth/token".')
        if not connection.login or not connection.password:
            raise self._unusable(
                "has a 'token_path' but no login or no password",
                "Set the client id as login and the client secret as password.",
            )
        client = (token_path, connection.login, connection.password)
        grant = _GRANTS.get(str(extra.get("token_auth", "form")))
        if grant is None or (refresh_token is not None and grant is not ClientCredentials):
            raise self._unusable(
                f"has an invalid 'token_auth': {extra['token_auth']!r:.40}",
                "It must be 'form' or 'basic'; with a refresh_token only 'form' is possible.",
            )
        if refresh_token is None:
            return grant(*client, name=self.conn_id, patience_s=limits.patience_s)
        if not isinstance(refresh_token, str) or not refresh_token:
            raise self._unusable(
                "has an invalid 'refresh_token'", "It must be a string; docs/clouds.md: how to get one."
            )
        return RefreshToken(*client, refresh_token, name=self.conn_id, patience_s=limits.patience_s)

    def _quotas(self, extra: dict[str, Any], quotas: tuple[Quota, ...]) -> list[Quota]:
        given = extra.get("quota", {})
        if not isinstance(given, dict):
            raise self._unusable("has an invalid 'quota'", 'It must be a JSON object, like {"name": {"units": 100}}.')
        try:
            return restated(quotas, given)
        except ValueError as error:
            raise self._unusable(f"has an invalid 'quota': {error}", "Fix 'quota' in the extra.") from None

    def _limits(self, extra: dict[str, Any]) -> Limits:
        given: dict[str, Any] = {}
        for name in extra.keys() & _LIMITS:
            number = _positive(extra[name])
            if number is None or (name == "connections" and not number.is_integer()):
                kind = "whole number" if name == "connections" else "number"
                raise self._unusable(
                    f"has an invalid '{name}' in its extra: {extra[name]!r:.40}", f"It must be a {kind} above 0."
                )
            given[name] = int(number) if name == "connections" else number
        return Limits(**given)

    def _network(self, extra: dict[str, Any]) -> Network:
        given = {name: extra[name] for name in _NETWORK if name in extra}
        for name, value in given.items():
            kind, example = (bool, "true or false") if name == "verify_tls" else (str, "a string")
            if not isinstance(value, kind) or value == "":
                raise self._unusable(f"has an invalid '{name}' in its extra", f"It must be {example}.")
        return Network(**given)

    def _unusable(self, what: str, advice: str) -> ConnectionUnusable:
        return ConnectionUnusable(f"The Airflow connection '{self.conn_id}' {what}.", advice=advice)


def _is_date(value: object) -> bool:
    """Return whether a value is a date in ISO format. The Harvest page counts the days until it."""
    try:
        return isinstance(value, str) and bool(date.fromisoformat(value))
    except ValueError:
        return False


def _positive(value: object) -> float | None:
    """Read a number above 0, also from a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 < number < math.inf else None
