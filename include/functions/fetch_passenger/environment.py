"""Settings of the function, from environment variables: the API, MongoDB, and the allowed caller."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from caller import GOOGLE_CERTS_URL
from pymongo import MongoClient

from windrow.http.auth import Auth, NoAuth
from windrow.http.client import Client, Limits
from windrow.http.oauth import ClientCredentials
from windrow.model.errors import Misconfigured
from windrow.model.policy import Backoff

_REQUIRED = ("MONGO_URL", "API_URL", "OIDC_AUDIENCE", "OIDC_SERVICE_ACCOUNT")
_CREDENTIALS = ("API_CLIENT_ID", "API_CLIENT_SECRET", "API_TOKEN_PATH")
_CONNECTIONS = 100
"""Maximum concurrent calls of one process. The queue sets the real concurrency; this only limits a mistake."""
_SELECTION_MS = 2_000
"""How long the driver looks for MongoDB: short, because a function is billed by time and the queue retries."""
_SOCKET_MS = 20_000
"""The longest silence of MongoDB within one call."""

ONE_ATTEMPT = Backoff(base_s=0.0, attempts=1)
"""Trying again is the queue's part: it knows how often, when, and how hard all calls together may press."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The settings. README.md explains each variable."""

    mongo_url: str = field(repr=False)
    mongo_database: str
    api_url: str
    api_client_id: str
    api_client_secret: str = field(repr=False)
    api_token_path: str
    """Empty, like the id and the secret, for an API without tokens."""
    oidc_audience: str
    oidc_service_account: str
    oidc_certs_url: str

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Read the variables.

        :raises Misconfigured: naming every variable that is missing, or the one that is invalid.
        """
        missing = [name for name in _REQUIRED if not environ.get(name)]
        if any(environ.get(name) for name in _CREDENTIALS):
            missing += [name for name in _CREDENTIALS if not environ.get(name)]
        if missing:
            raise Misconfigured(
                f"Missing environment variables: {', '.join(missing)}.",
                advice="Set them when you deploy the function; its README.md explains each.",
            )
        if urlsplit(environ["API_URL"]).scheme not in {"http", "https"}:
            raise Misconfigured("API_URL is not a valid URL.", advice="Use a URL like https://api.example.com.")
        return cls(
            mongo_url=environ["MONGO_URL"],
            mongo_database=environ.get("MONGO_DATABASE") or "windrow",
            api_url=environ["API_URL"].rstrip("/"),
            api_client_id=environ.get("API_CLIENT_ID", ""),
            api_client_secret=environ.get("API_CLIENT_SECRET", ""),
            api_token_path=environ.get("API_TOKEN_PATH", ""),
            oidc_audience=environ["OIDC_AUDIENCE"],
            oidc_service_account=environ["OIDC_SERVICE_ACCOUNT"],
            oidc_certs_url=environ.get("OIDC_CERTS_URL") or GOOGLE_CERTS_URL,
        )

    def client(self) -> Client:
        """Make a client of the API without retries and pauses. The caller enters its context."""
        name = urlsplit(self.api_url).hostname or "api"
        auth: Auth = NoAuth()
        if self.api_token_path:
            auth = ClientCredentials(
                self.api_token_path,
                self.api_client_id,
                self.api_client_secret,
                name=name,
                patience_s=0.0,
                backoff=ONE_ATTEMPT,
            )
        limits = Limits(connections=_CONNECTIONS, patience_s=0.0, backoff=ONE_ATTEMPT)
        return Client(self.api_url, auth, name=name, limits=limits)

    def mongo(self) -> MongoClient[dict[str, Any]]:
        """Make a client of MongoDB; it connects at first use."""
        return MongoClient(self.mongo_url, serverSelectionTimeoutMS=_SELECTION_MS, socketTimeoutMS=_SOCKET_MS)
