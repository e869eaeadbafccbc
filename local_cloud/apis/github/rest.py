"""The REST routes: what the lists and users of the world look like on the wire."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from aiohttp import web

from local_cloud.apis.counters import Counters
from local_cloud.apis.endpoint import Endpoint, json_bytes, json_response
from local_cloud.apis.github import replies
from local_cloud.apis.github.gate import CALLER, VERSION, VERSIONS, Gate
from local_cloud.apis.github.keyring import BadJwt, Keyring
from local_cloud.apis.github.limits import CORE, GRAPHQL, Ledger
from local_cloud.apis.github.pages import Page
from local_cloud.apis.github.people import User
from local_cloud.apis.github.settings import Dial
from local_cloud.apis.github.world import LISTS, Repository, World

API = "github"
BASE = "/github"
STAR_JSON = "application/vnd.github.star+json"
_ACCOUNT_AT = {"stargazers": "user", "forks": "owner"}
FORK_ORDERS: dict[str, Callable[[Sequence[Any]], Sequence[Any]]] = {
    "newest": lambda forks: forks[::-1],
    "oldest": lambda forks: forks,
    "stargazers": lambda forks: forks[::-1],  # nobody has starred a fork yet
    "watchers": lambda forks: forks[::-1],
}


class RestApi:
    """Serves a world. The same list is at `/repos/{owner}/{name}/...` and, as links have it, by the repository's id."""

    def __init__(
        self, world: World, dial: Dial, ledger: Ledger, keyring: Keyring, gate: Gate, counters: Counters
    ) -> None:
        self._world = world
        self._dial = dial
        self._ledger = ledger
        self._keyring = keyring
        self._gate = gate
        self._counters = counters
        self._encoded: dict[int, bytes] = {}

    def endpoints(self) -> Iterator[Endpoint]:
        """Describe the routes."""
        listing = {"contributors": self._contributors, "stargazers": self._stargazers, "forks": self._forks}
        for path in ("/repos/{owner}/{name}", "/repositories/{id}"):
            yield self._get(path, "repository", self._at_repository(self._repository))
            for name in LISTS:
                yield self._get(f"{path}/{name}", name, self._at_repository(listing[name], name), items="")
        yield self._get("/user/{id}", "user", self._user_by_id)
        yield self._get("/users/{login}", "user", self._user_by_login)
        yield self._get("/rate_limit", "rate_limit", self._rate_limit, free=True)
        yield Endpoint(
            api=API,
            method="POST",
            path=f"{BASE}/app/installations/{{id}}/access_tokens",
            answer=self._installation_token,
            refuse=replies.refuse,
            issues_tokens=True,
        )

    def _get(self, path: str, route: str, handler: Any, *, items: str | None = None, free: bool = False) -> Endpoint:
        return Endpoint(
            api=API,
            method="GET",
            path=BASE + path,
            answer=self._gate.guarded(route, handler, free=free),
            refuse=replies.refuse,
            key=_key,
            enter=self._gate.enter,
            items=items,
        )

    # --- repositories --------------------------------------------------------------------------

    def _at_repository(self, show: Callable[[web.Request, Repository], web.Response], listing: str = "") -> Any:
        """Find the repository that a path names; lead on where it has another name by now."""

        async def handler(request: web.Request) -> web.Response:
            match = request.match_info
            if "id" in match:
                repository = self._world.repositories.get(int(match["id"]) if match["id"].isdecimal() else 0)
            else:
                full_name = f"{match['owner']}/{match['name']}".lower()
                repository = self._world.repositories.get(self._world.names.get(full_name, 0))
                if repository and not repository.private and repository.full_name.lower() != full_name:
                    return _moved(request, repository, listing)
            if repository is None or repository.private:
                return replies.not_found()
            return show(request, repository)

        return handler

    def _repository(self, _request: web.Request, repository: Repository) -> web.Response:
        return json_response(repository.detail(), headers=_modified(repository.updated_at))

    def _contributors(self, request: web.Request, repository: Repository) -> web.Response:
        if repository.empty:
            return web.Response(status=204)
        if repository.too_large:
            return replies.refuse(403, replies.TOO_LARGE)
        anonymous = request.query.get("anon") in {"1", "true"}
        rows = [row for row in repository.contributors if row.user or anonymous]
        return self._page(request, repository, "contributors", rows, lambda row: row.row())

    def _stargazers(self, request: web.Request, repository: Repository) -> web.Response:
        starred = STAR_JSON in request.headers.get("Accept", "")
        return self._page(
            request,
            repository,
            "stargazers",
            repository.stargazers,
            lambda star: star.row() if starred else star.row()["user"],
        )

    def _forks(self, request: web.Request, repository: Repository) -> web.Response:
        order = FORK_ORDERS.get(request.query.get("sort", "newest"))
        if order is None:
            return replies.refuse(400, "The sort parameter must be one of newest, oldest, stargazers, watchers.")
        return self._page(request, repository, "forks", order(repository.forks), repository.fork_row)

    def _page(
        self,
        request: web.Request,
        repository: Repository,
        listing: str,
        rows: Sequence[Any],
        show: Callable[[Any], dict[str, Any]],
    ) -> web.Response:
        page = Page.of(request)
        if page.number > self._dial.current.page_cap:
            return replies.refuse(422, replies.TOO_DEEP)
        oddity = self._dial.current.odd.get(f"{repository.full_name}/{listing}")
        if oddity == "computing":
            return json_response({}, 202)
        link = page.link(request, f"{BASE}/repositories/{repository.id}/{listing}", len(rows))
        shown: list[Any] = [show(row) for row in page.cut(rows)]
        if oddity == "null":
            shown.insert(1, None)
        elif oddity == "no_id":
            del (shown[0] if listing == "contributors" else shown[0][_ACCOUNT_AT[listing]])["id"]
        return json_response(shown, headers={"Link": link} if link else None)

    # --- users ---------------------------------------------------------------------------------

    async def _user_by_id(self, request: web.Request) -> web.Response:
        text = request.match_info["id"]
        return self._user(self._world.users.get(int(text)) if text.isdecimal() else None)

    async def _user_by_login(self, request: web.Request) -> web.Response:
        return self._user(self._world.current_logins.get(request.match_info["login"].lower()))

    def _user(self, user: User | None) -> web.Response:
        if user is None or user.deleted:
            return replies.not_found()
        body = self._encoded.get(user.id)
        if body is None:
            body = self._encoded[user.id] = json.dumps(user.detail(), ensure_ascii=False).encode()
        return json_bytes(body, headers=_modified(user.updated_at))

    # --- limits and tokens ---------------------------------------------------------------------

    async def _rate_limit(self, request: web.Request) -> web.Response:
        owner = request[CALLER].owner
        resources = {}
        for resource in (CORE, GRAPHQL):
            window = self._ledger.window(owner, resource)
            used = min(window.used, window.limit)
            resources[resource] = {
                "limit": window.limit,
                "used": used,
                "remaining": window.remaining,
                "reset": window.reset,
            }
        search = {"limit": 30, "used": 0, "remaining": 30, "reset": int(time.time()) + 60}
        payload: dict[str, Any] = {"resources": resources | {"search": search}}
        if request[VERSION] == VERSIONS[0]:
            payload["rate"] = resources[CORE]
        return json_response(payload)

    async def _installation_token(self, request: web.Request) -> web.Response:
        try:
            self._keyring.check_jwt(request)
            issued = self._keyring.install(int(request.match_info["id"]))
        except BadJwt as bad:
            return json_response({"message": str(bad), "documentation_url": replies.DOCS, "status": "401"}, 401)
        except (KeyError, ValueError):
            return replies.not_found()
        self._counters.tokens_issued += 1
        return json_response(issued, 201, {"Cache-Control": "no-store"})


def _key(request: web.Request) -> str:
    """Name what a request asks for: the end of its path, and the page."""
    path = request.path.removeprefix(BASE).strip("/")
    return f"{path}?page={request.query['page']}" if "page" in request.query else path


def _moved(request: web.Request, repository: Repository, listing: str) -> web.Response:
    """Lead to where a renamed repository is now: by its id, which stays."""
    url = f"{request.scheme}://{request.host}{BASE}/repositories/{repository.id}"
    url += f"/{listing}" if listing else ""
    url += f"?{request.query_string}" if request.query_string else ""
    payload = {"message": "Moved Permanently", "url": url, "documentation_url": replies.DOCS}
    return json_response(payload, 301, {"Location": url})


def _modified(moment: datetime) -> dict[str, str]:
    return {"Last-Modified": format_datetime(moment, usegmt=True)}
