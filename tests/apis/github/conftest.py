"""The fake GitHub with its real settings and new windows, and clients of it: a plain one, and the source's."""

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from local_cloud.apis.github.demo_tokens import POOL
from local_cloud.apis.github.world import World, make_world
from local_cloud.apis.testing import FakeApi, Reply
from windrow.http.auth import StaticToken
from windrow.http.client import Client, Limits
from windrow.http.flow import Driver
from windrow.model.answer import Answer, Rejected
from windrow.model.policy import Backoff
from windrow.model.query import Query
from windrow.model.stream import Asked, Gap, Planned, Request
from windrow.sources.github.streams import GithubStream

BASE = "/github"


@dataclass(frozen=True)
class Github:
    """Calls the fake with one token, unless a call names another."""

    api: FakeApi
    token: str | None = POOL[0]

    def get(self, path: str, token: str | None = "", **headers: str | None) -> Reply:
        """Get a path; a header given as None is left out."""
        token = self.token if token == "" else token
        sent = {"User-Agent": "tests", "Authorization": f"Bearer {token}" if token else None}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.api.request("GET", BASE + path, headers={k: v for k, v in sent.items() if v is not None})

    def pages(self, path: str, **headers: str | None) -> Iterator[Reply]:
        """Follow the links to the next page."""
        while path:
            reply = self.get(path, **headers)
            yield reply
            path = relation(reply, "next")

    def graphql(self, query: str, token: str | None = "", **variables: Any) -> Reply:
        """Post a query."""
        token = self.token if token == "" else token
        headers = {"User-Agent": "tests", "Authorization": f"Bearer {token}"}
        body = json.dumps({"query": query, "variables": variables})
        return self.api.request("POST", f"{BASE}/graphql", body, headers if token else {"User-Agent": "tests"})


def relation(reply: Reply, name: str) -> str:
    """Find the path that a `Link` header names, without the base path; empty if there is none."""
    found = re.search(rf'<([^>]+)>; rel="{name}"', reply.headers.get("Link", ""))
    if not found:
        return ""
    parts = urlsplit(found[1])
    assert parts.path.startswith(f"{BASE}/")
    return f"{parts.path.removeprefix(BASE)}?{parts.query}"


class Recording(Driver):
    """Leads a plan with the fake, and keeps its queries, its gaps, and what is in the quarantine."""

    keeps_refusals = True

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.queries: list[Query] = []
        self.plan: list[Query] = []
        self.gaps: list[Gap] = []
        self.quarantine: list[Rejected] = []

    async def _settled(self, asked: Asked) -> Answer | Rejected:
        self.queries.append(asked.query)
        return await super()._settled(asked)

    async def _planned(self, planned: Planned) -> None:
        self.plan += planned.queries

    async def _missing(self, gap: Gap) -> None:
        self.gaps.append(gap)

    def _quarantine(self, bad: Rejected) -> None:
        self.quarantine.append(bad)


def led(github: Github, stream: GithubStream, repositories: list[str], **params: Any) -> Recording:
    """Lead the plan of a stream over the fake, with the real client."""

    async def lead() -> Recording:
        limits = Limits(backoff=Backoff(base_s=0.001, cap_s=0.002, attempts=3))
        async with Client(
            f"{github.api.url}/github",
            StaticToken(str(github.token)),
            name="github",
            limits=limits,
            policy=stream.policy,
            headers=stream.headers,
        ) as client:
            driver = Recording(client)
            await driver.lead(stream.plan(Request({"repositories": repositories, **params})))
            return driver

    return asyncio.run(lead())


@pytest.fixture
def github(api: FakeApi) -> Github:
    api.reset_github()
    return Github(api)


@pytest.fixture(scope="session")
def world() -> World:
    return make_world()
