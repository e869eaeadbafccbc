"""What one of several processes does that use one consent at once. It has nothing to do with pytest."""

import asyncio
from collections.abc import Callable
from typing import Any

from cryptography.fernet import Fernet

from windrow.http.auth import Auth
from windrow.http.client import Client, Limits
from windrow.http.consent import Consent, ConsentStore
from windrow.http.oauth import RefreshToken
from windrow.model.answer import Answer
from windrow.model.policy import Backoff
from windrow.model.query import Query
from windrow.store.staging import opened

CONSENT = "1//c0ns3nt-of-an-owner"


class FernetSeal:
    """Keeps to `windrow.http.consent.Seal`."""

    def __init__(self, key: bytes) -> None:
        self._fernet = Fernet(key)

    def seal(self, text: str) -> str:
        return self._fernet.encrypt(text.encode()).decode()

    def unseal(self, sealed: str) -> str:
        return self._fernet.decrypt(sealed.encode()).decode()


def flow(store: ConsentStore, key: bytes, *, consent: str = CONSENT, lease_s: float = 30.0) -> RefreshToken:
    backoff = Backoff(base_s=0.001, cap_s=0.002, attempts=4)
    one = Consent(store, FernetSeal(key), "me", consent, lease_s=lease_s)
    return RefreshToken("/token", "me", "s3cr3t-of-the-client", one, name="shop", backoff=backoff)


def call(url: str, auth: Auth, times: int = 1) -> list[Any]:
    """Make calls at once, and return their statuses."""

    async def ask() -> list[Any]:
        limits = Limits(backoff=Backoff(base_s=0.001, cap_s=0.002, attempts=4))
        async with Client(url, auth, name="shop", limits=limits) as client:
            queries = [Query.of("/items", {"n": str(n)}) for n in range(times)]
            settled = await asyncio.gather(*(client.ask(query, lambda query, answer: None) for query in queries))
            return [one.status for one in settled if isinstance(one, Answer)]

    return asyncio.run(ask())


def together(barrier: Any) -> None:
    """Give a process of a pool what it waits at for the others."""
    globals()["meet"] = lambda: barrier.wait(60)


def once(api: str, mongo: str, database: str, key: bytes) -> None:
    """Make one call with the consent."""
    with opened(mongo, database) as staging:
        call(api, flow(staging, key, lease_s=0.2))


def compete(api: str, mongo: str, database: str, key: bytes) -> list[Any]:
    """Make calls with the consent, at the same time as the others."""
    meet: Callable[[], int] = globals()["meet"]
    with opened(mongo, database) as staging:
        meet()
        return call(api, flow(staging, key), times=4)
