"""An Airflow connection of type ``http``, turned into a signed and paced client of that API.

==================  =========================================================================================
field               meaning
==================  =========================================================================================
Schema, Host, Port  where the API is; Schema is https unless it says http. Host may also be a whole URL.
Login, Password     client id and client secret, if the API wants tokens
extra token_path    where they are turned into a token: a path of the API, or a whole URL
extra token_auth    how id and secret are sent there: ``form`` (the default) or ``basic``
extra refresh_token a consent that was given once; with it the refresh token grant of OAuth 2.0 is used
extra token         one bearer token that was made by hand
extra tokens        a pool: tokens made by hand, each a text or ``{"token": "...", "owner": "..."}``. Tokens of one
                    owner share its limits; without an owner a token has one of its own
extra rate_limits   of a pool: what differs from what the source says, fields of `windrow.model.rate_limits.RateLimits`
extra points_per_minute  the same as ``per_minute`` in rate_limits
extra origins       other origins that redirects and next pages may lead to, like ``["https://api2.example.com"]``
extra quota         units of the API's quotas where the account's differ from the source's own, like
                    ``{"shop.orders": {"units": 50000, "per": "pacific_day"}}``
extra connections   calls in flight at once (16)
extra rate_per_s    calls a second, evenly spaced (no limit)
extra timeout_s     for one attempt (30)
extra patience_s    the longest pause that is waited for in place; for a longer one the task defers (60)
==================  =========================================================================================

A stream may name further kinds of credentials for the pool, see `windrow.model.stream.CredentialKind`.
"""

import json
import math
from collections.abc import Iterable
from typing import Any, Protocol
from urllib.parse import urlsplit

from airflow.sdk import BaseHook
from airflow.sdk.definitions.connection import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from windrow.airflow.hooks import no_connection
from windrow.http.auth import Auth, NoAuth, StaticToken, can_be_sent
from windrow.http.client import Client, Limits
from windrow.http.conditional import Cupboard, Revisits
from windrow.http.ledger import Book, Ledger
from windrow.http.oauth import BasicClientCredentials, ClientCredentials, RefreshToken
from windrow.http.pool import Credential, TokenPool, by_owner
from windrow.model.errors import ConnectionUnusable
from windrow.model.quota import Quota, restated
from windrow.model.rate_limits import RateLimits, stated
from windrow.model.stream import CredentialKind, Stream

_LIMITS = ("connections", "rate_per_s", "timeout_s", "patience_s")
_POOL = ("tokens", "points_per_minute", "rate_limits")
_EXTRAS = {"token", "token_path", "token_auth", "refresh_token", "quota", "origins", *_POOL, *_LIMITS}
_GRANTS: dict[str, type[ClientCredentials | BasicClientCredentials]] = {
    "form": ClientCredentials,
    "basic": BasicClientCredentials,
}


class State(Book, Cupboard, Protocol):
    """What clients of all runs share."""


class ApiHook(BaseHook):
    """Makes clients of the API that a connection describes."""

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
        """Make a client for a stream of this API, not yet entered.

        :param state: where all runs see what is left of the quotas, and what was answered before.
        :param connections: overrides the connection's own number.
        :param share: number of a worker, from 0, and how many there are: each gets owners of the pool of its own.
        :param reserved: share of every limit that is left to others, from 0 to 1.
        :raises ConnectionUnusable: the connection is not there, or lacks or garbles a field.
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
            revisits=Revisits(state, base_url) if stream.revisits else None,
        )

    def pool_size(self, stream: Stream) -> int:
        """Return how many owners the pool of this connection has; 0 where it has no pool.

        :raises ConnectionUnusable: as `client`.
        """
        return len(by_owner(self._credentials(self._extra(self._connection(), stream), stream, Limits())))

    def cost(self, stream: Stream) -> tuple[Limits, list[Quota]]:
        """Return what bounds the speed of a harvest of this stream, without making a client.

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
        """Read the extra. Airflow itself takes a garbled one for an empty one: no token then, and no limit."""
        try:
            extra = json.loads(connection.extra or "{}")
        except json.JSONDecodeError:
            extra = None
        if not isinstance(extra, dict):
            raise self._unusable("has an extra that is no JSON object", 'It should look like {"connections": 16}.')
        known = {*_EXTRAS, *stream.credentials}
        unknown = sorted(set(extra) - known)
        if unknown:
            raise self._unusable(f"has unknown extra fields {unknown}", f"Known are {sorted(known)}.")
        return extra

    def _base_url(self, connection: Connection) -> str:
        host = (connection.host or "").rstrip("/")
        if not host:
            raise self._unusable("has no host", "Fill in the host of the API.")
        if "://" not in host:
            bare = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host  # IPv6
            host = f"{connection.schema or 'https'}://{bare}"
        try:
            url = urlsplit(host)
            port = url.port
        except ValueError:
            raise self._unusable("has a host that is no address", "It should look like api.example.com.") from None
        if url.username is not None:
            raise self._unusable("has a login in its host", "Move it to the fields login and password.")
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise self._unusable(f"has the schema {url.scheme!r}", "It should be https or http.")
        if port and connection.port and port != connection.port:
            raise self._unusable(
                f"names two ports, {port} and {connection.port}", "Take one of them out of host or port."
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
                    f"has origins = {given!r:.80}", 'It should be a list like ["https://api2.example.com"].'
                )
        return list(given)

    def _pool(
        self, extra: dict[str, Any], stream: Stream, limits: Limits, share: tuple[int, int], reserved: float
    ) -> TokenPool | None:
        """Make the pool of a worker; None where the connection has none."""
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
                raise ValueError("they are not an object")
            if "points_per_minute" in extra:
                given = {"per_minute": extra["points_per_minute"]} | given
            return stated(stream.rate_limits, given)
        except ValueError as error:
            raise self._unusable(
                f"has rate_limits that cannot be used: {error}", 'They should look like {"per_minute": 900}.'
            ) from None

    def _credentials(self, extra: dict[str, Any], stream: Stream, limits: Limits) -> list[Credential]:
        given = {name: extra.get(name, []) for name in ("tokens", *stream.credentials)}
        for name, entries in given.items():
            if not isinstance(entries, list):
                raise self._unusable(f"has {name} that are not a list", f'It should look like {{"{name}": [...]}}.')
        found = list(self._tokens(given["tokens"]))
        for name, kind in stream.credentials.items():
            found += (
                self._credential(f"{name}[{place}]", kind, entry, limits) for place, entry in enumerate(given[name])
            )
        return found

    def _tokens(self, tokens: list[Any]) -> Iterable[Credential]:
        """Read the tokens of the pool, each once: of two entries for one, that which names the owner.

        No message may show any of them.
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
                    f"has a {place} that is none", 'It should be a text, or {"token": "", "owner": ""}.'
                )
            if owner or text.strip() not in found:
                label = f"{place} ({owner})" if owner else place
                found[text.strip()] = Credential(StaticToken(text.strip()), label, owner)
        return found.values()

    def _credential(self, place: str, kind: CredentialKind, entry: object, limits: Limits) -> Credential:
        """Make a credential of a kind that only the stream's API has. No message may show what it holds."""
        try:
            if not isinstance(entry, dict):
                raise TypeError("it is not an object")
            made: Credential = kind.load()(entry, name=self.conn_id, patience_s=limits.patience_s)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)[:80]
            raise self._unusable(
                f"has an entry {place} that cannot be used: {reason}", f"It needs {', '.join(kind.fields)}."
            ) from None
        return made

    def _auth(self, connection: Connection, extra: dict[str, Any], limits: Limits) -> Auth:
        token_path, refresh_token = extra.get("token_path"), extra.get("refresh_token")
        if "token" in extra:
            token = extra["token"]
            if token_path or not isinstance(token, str) or not can_be_sent(token.strip()):
                raise self._unusable("has a token that cannot be used", "It should be a text, without a token_path.")
            return StaticToken(token.strip())
        if not token_path:
            if refresh_token:
                raise self._unusable(
                    "has a refresh_token and no token_path", 'Google\'s is "https://oauth2.googleapis.com/token".'
                )
            return NoAuth()
        if not isinstance(token_path, str):
            raise self._unusable("has a token_path that is no text", 'It should look like "/oauth/token".')
        if not connection.login or not connection.password:
            raise self._unusable(
                "names a token_path, and lacks a login or a password",
                "Fill in the client id as login and the client secret as password.",
            )
        client = (token_path, connection.login, connection.password)
        grant = _GRANTS.get(str(extra.get("token_auth", "form")))
        if grant is None or (refresh_token is not None and grant is not ClientCredentials):
            raise self._unusable(
                f"has token_auth = {extra['token_auth']!r:.40}",
                "It should be form or basic, with a refresh_token form.",
            )
        if refresh_token is None:
            return grant(*client, name=self.conn_id, patience_s=limits.patience_s)
        if not isinstance(refresh_token, str) or not refresh_token:
            raise self._unusable("has a refresh_token that is no text", "docs/clouds.md says how to get one.")
        return RefreshToken(*client, refresh_token, name=self.conn_id, patience_s=limits.patience_s)

    def _quotas(self, extra: dict[str, Any], quotas: tuple[Quota, ...]) -> list[Quota]:
        given = extra.get("quota", {})
        if not isinstance(given, dict):
            raise self._unusable("has a quota that is no JSON object", 'It should look like {"name": {"units": 100}}.')
        try:
            return restated(quotas, given)
        except ValueError as error:
            raise self._unusable(f"has a quota that cannot be meant: {error}", "Mend its extra.") from None

    def _limits(self, extra: dict[str, Any]) -> Limits:
        given: dict[str, Any] = {}
        for name in extra.keys() & _LIMITS:
            number = _positive(extra[name])
            if number is None or (name == "connections" and not number.is_integer()):
                raise self._unusable(f"has {name} = {extra[name]!r:.40} in its extra", "It should be a number above 0.")
            given[name] = int(number) if name == "connections" else number
        return Limits(**given)

    def _unusable(self, what: str, advice: str) -> ConnectionUnusable:
        return ConnectionUnusable(f"The Airflow connection '{self.conn_id}' {what}.", advice=advice)


def _positive(value: object) -> float | None:
    """Read a number above 0 that is written as a number or as text; None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 < number < math.inf else None
