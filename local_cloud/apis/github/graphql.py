"""`POST /graphql`: the query that lists stargazers with their details, and clear errors for all others.

::

    query($owner: String!, $name: String!, $after: String) {
      rateLimit { limit cost remaining resetAt }
      repository(owner: $owner, name: $name) {
        stargazers(first: 100, after: $after) {
          pageInfo { hasNextPage endCursor }
          edges { starredAt node { databaseId login name company location } }
        }
      }
    }

A call costs one point for each 100 requests that its connections stand for, and at least one: this one costs
one. A connection inside `node`, such as `followers { totalCount }`, stands for a request a user: one point more.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from local_cloud.apis.endpoint import Endpoint, json_response
from local_cloud.apis.github import replies
from local_cloud.apis.github.gate import CALLER, UNITS, Gate
from local_cloud.apis.github.limits import GRAPHQL, Ledger
from local_cloud.apis.github.people import SITE, User, instant
from local_cloud.apis.github.rest import API as API_NAME
from local_cloud.apis.github.rest import BASE
from local_cloud.apis.github.world import Repository, Star, World

MOST = 100
TOKEN = re.compile(r'\s+|,|#[^\n]*|(?P<word>"(?:[^"\\]|\\.)*"|-?\d+|[_A-Za-z]\w*|\.\.\.|[!$():=@\[\]{}|])')

USER_FIELDS: Mapping[str, Callable[[User], Any]] = {
    "id": lambda user: f"U_{user.id:010x}",
    "databaseId": lambda user: user.id,
    "login": lambda user: user.login,
    "name": lambda user: user.name,
    "company": lambda user: user.company,
    "websiteUrl": lambda user: user.blog or None,
    "location": lambda user: user.location,
    "email": lambda user: user.email or "",
    "isHireable": lambda user: bool(user.hireable),
    "isSiteAdmin": lambda user: False,
    "bio": lambda user: user.bio,
    "twitterUsername": lambda user: user.twitter_username,
    "createdAt": lambda user: instant(user.created_at),
    "updatedAt": lambda user: instant(user.updated_at),
    "url": lambda user: f"{SITE}/{user.login}",
    "avatarUrl": lambda user: f"https://avatars.githubusercontent.com/u/{user.id}?v=4",
    "resourcePath": lambda user: f"/{user.login}",
}
USER_CONNECTIONS: Mapping[str, Callable[[User], int]] = {
    "followers": lambda user: user.followers,
    "following": lambda user: user.following,
    "repositories": lambda user: user.public_repos,
    "gists": lambda user: user.public_gists,
}


class BadQuery(ValueError):
    """A query that is not served; the message is for the field `errors`, `kind` for its type."""

    def __init__(self, message: str, kind: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass
class Selection:
    """A field that a query asks for."""

    name: str
    alias: str
    arguments: dict[str, Any] = field(default_factory=dict)
    children: list["Selection"] = field(default_factory=list)

    def child(self, name: str) -> "Selection | None":
        """Find a selected field."""
        return next((each for each in self.children if each.name == name), None)


class Parser:
    """Reads one query operation without fragments."""

    def __init__(self, text: str, variables: Mapping[str, Any]) -> None:
        self._variables = variables
        self._words = list(_words(text))
        self._at = 0

    def parse(self) -> Selection:
        """Read the operation; raises BadQuery."""
        if self._peek() == "query":
            self._take()
            if self._peek() not in {"(", "{"}:
                self._take()
            if self._peek() == "(":
                while self._take() != ")":
                    pass
        root = Selection("query", "query", children=self._selections())
        if self._peek():
            raise BadQuery(f"Parse error on {self._peek()!r}")
        return root

    def _selections(self) -> list[Selection]:
        self._take("{")
        selections = []
        while self._peek() != "}":
            selections.append(self._selection())
        self._take("}")
        return selections

    def _selection(self) -> Selection:
        name = alias = self._take()
        if not name.isidentifier():
            raise BadQuery(f"Parse error on {name!r}: fragments and directives are not served here")
        if self._peek() == ":":
            self._take()
            name = self._take()
        selection = Selection(name, alias)
        if self._peek() == "(":
            selection.arguments = self._object("(", ")")
        if self._peek() == "{":
            selection.children = self._selections()
        return selection

    def _object(self, start: str, end: str) -> dict[str, Any]:
        self._take(start)
        values = {}
        while self._peek() != end:
            name = self._take()
            self._take(":")
            values[name] = self._value()
        self._take(end)
        return values

    def _value(self) -> Any:
        if self._peek() == "{":
            return self._object("{", "}")
        word = self._take()
        if word == "$":
            return self._variables.get(self._take())
        if word[0] in '"-0123456789':
            return json.loads(word)
        return {"null": None, "true": True, "false": False}.get(word, word)

    def _peek(self) -> str:
        return self._words[self._at] if self._at < len(self._words) else ""

    def _take(self, expected: str = "") -> str:
        word = self._peek()
        if not word or (expected and word != expected):
            raise BadQuery(
                f"Parse error on {word or 'end of file'!r}" + (f", expected {expected!r}" if expected else "")
            )
        self._at += 1
        return word


def _words(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        found = TOKEN.match(text, at)
        if found is None:
            raise BadQuery(f"Parse error on {text[at]!r}")
        at = found.end()
        if found["word"]:
            yield found["word"]


class GraphqlApi:
    """Serves the query of stargazers over a world."""

    def __init__(self, world: World, ledger: Ledger, gate: Gate) -> None:
        self._world = world
        self._ledger = ledger
        self._gate = gate

    def endpoint(self) -> Endpoint:
        """Describe the route."""
        return Endpoint(
            api=API_NAME,
            method="POST",
            path=f"{BASE}/graphql",
            answer=self._gate.guarded(GRAPHQL, self.answer, resource=GRAPHQL),
            refuse=replies.refuse,
            key=lambda request: None,
            enter=self._gate.enter,
        )

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a query. All errors of a query come with status 200."""
        if not request[CALLER].known:
            return replies.refuse(403, "This endpoint requires you to be authenticated.")
        try:
            body = await request.json()
            text, variables = body["query"], body.get("variables") or {}
            root = Parser(text, variables).parse()
        except (ValueError, KeyError, TypeError, AttributeError) as bad:
            if isinstance(bad, BadQuery):
                return json_response({"errors": [{"message": str(bad)}]})
            return replies.refuse(400, "Problems parsing JSON")
        try:
            self._check(root)
            request[UNITS] = cost(root)
            return json_response(self._run(request, root))
        except BadQuery as bad:
            error: dict[str, Any] = {"message": str(bad), "path": ["query"]}
            return json_response({"errors": [error | ({"type": bad.kind} if bad.kind else {})]})

    @staticmethod
    def _check(root: Selection) -> None:
        """Refuse all but the one query; raises BadQuery."""
        _known(root, "Query", {"rateLimit", "repository"})
        repository = root.child("repository")
        if repository is None or repository.child("stargazers") is None:
            raise BadQuery("This GitHub serves one query only: repository { stargazers { edges { node } } }")
        _known(repository, "Repository", {"databaseId", "nameWithOwner", "stargazerCount", "stargazers"})
        stargazers = repository.child("stargazers")
        assert stargazers is not None  # noqa: S101 - asked above
        _known(stargazers, "StargazerConnection", {"edges", "pageInfo", "totalCount"})
        edges = stargazers.child("edges") or Selection("edges", "edges")
        _known(edges, "StargazerEdge", {"starredAt", "cursor", "node"})
        node = edges.child("node") or Selection("node", "node")
        _known(node, "User", {*USER_FIELDS, *USER_CONNECTIONS})
        first = stargazers.arguments.get("first")
        if first is None:
            raise BadQuery(
                "You must provide a `first` or `last` value to properly paginate the `stargazers` connection.",
                "MISSING_PAGINATION_BOUNDARIES",
            )
        if not isinstance(first, int) or not 1 <= first <= MOST:
            raise BadQuery(
                f"Requesting {first} records on the `stargazers` connection exceeds the `first` limit of {MOST} "
                "records.",
                "EXCESSIVE_PAGINATION",
            )

    def _run(self, request: web.Request, root: Selection) -> dict[str, Any]:
        data: dict[str, Any] = {}
        payload: dict[str, Any] = {"data": data}
        for selection in root.children:
            if selection.name == "rateLimit":
                data[selection.alias] = self._rate_limit(request, selection)
                continue
            full_name = f"{selection.arguments.get('owner')}/{selection.arguments.get('name')}"
            repository = self._world.repositories.get(self._world.names.get(full_name.lower(), 0))
            if repository is None or repository.private:
                data[selection.alias] = None
                message = f"Could not resolve to a Repository with the name '{full_name}'."
                payload["errors"] = [{"type": "NOT_FOUND", "path": [selection.alias], "message": message}]
            else:
                data[selection.alias] = _repository(selection, repository)
        return payload

    def _rate_limit(self, request: web.Request, selection: Selection) -> dict[str, Any]:
        window, units = self._ledger.window(request[CALLER].owner, GRAPHQL), request[UNITS]
        values = {
            "limit": window.limit,
            "cost": units,
            "remaining": max(0, window.remaining - units),
            "used": min(window.limit, window.used + units),
            "resetAt": instant(datetime.fromtimestamp(window.reset, UTC)),
        }
        _known(selection, "RateLimit", set(values))
        return {each.alias: values[each.name] for each in selection.children}


def cost(root: Selection) -> int:
    """Compute the points of a query: requests of all connections, by 100, and at least one."""
    requests = 0
    for repository in root.children:
        for stargazers in repository.children:
            if stargazers.name == "stargazers":
                requests += 1
                node = (stargazers.child("edges") or Selection("", "")).child("node") or Selection("", "")
                inside = sum(each.name in USER_CONNECTIONS for each in node.children)
                requests += inside * int(stargazers.arguments.get("first", 0))
    return max(1, (requests + 50) // 100)


def _known(selection: Selection, kind: str, names: set[str]) -> None:
    """Refuse fields that a type does not have; raises BadQuery."""
    for child in selection.children:
        if child.name not in names:
            raise BadQuery(f"Field '{child.name}' doesn't exist on type '{kind}'", "undefinedField")


def _repository(selection: Selection, repository: Repository) -> dict[str, Any]:
    alive = [(place, star) for place, star in enumerate(repository.stargazers) if star.user and not star.user.deleted]
    values: dict[str, Callable[[Selection], Any]] = {
        "databaseId": lambda _: repository.id,
        "nameWithOwner": lambda _: repository.full_name,
        "stargazerCount": lambda _: len(repository.stargazers),
        "stargazers": lambda each: _stargazers(each, alive),
    }
    return {each.alias: values[each.name](each) for each in selection.children}


def _stargazers(selection: Selection, alive: list[tuple[int, Star]]) -> dict[str, Any]:
    after, first = selection.arguments.get("after"), selection.arguments["first"]
    begin = _place(after) + 1 if after else 0
    rest = [(place, star) for place, star in alive if place >= begin]
    page = rest[:first]
    page_info = {
        "hasNextPage": len(rest) > len(page),
        "endCursor": _cursor(page[-1][0]) if page else None,
        "hasPreviousPage": begin > 0,
        "startCursor": _cursor(page[0][0]) if page else None,
    }
    values: dict[str, Callable[[Selection], Any]] = {
        "totalCount": lambda _: len(alive),
        "pageInfo": lambda each: {child.alias: page_info[child.name] for child in each.children},
        "edges": lambda each: [_edge(each, place, star) for place, star in page],
    }
    for each in selection.children:
        if each.name == "pageInfo":
            _known(each, "PageInfo", set(page_info))
    return {each.alias: values[each.name](each) for each in selection.children}


def _edge(selection: Selection, place: int, star: Star) -> dict[str, Any]:
    values: dict[str, Callable[[Selection], Any]] = {
        "starredAt": lambda _: instant(star.starred_at),
        "cursor": lambda _: _cursor(place),
        "node": lambda each: _node(each, star.user),
    }
    return {each.alias: values[each.name](each) for each in selection.children}


def _node(selection: Selection, user: User) -> dict[str, Any]:
    return {
        each.alias: USER_FIELDS[each.name](user)
        if each.name in USER_FIELDS
        else {"totalCount": USER_CONNECTIONS[each.name](user)}
        for each in selection.children
    }


def _cursor(place: int) -> str:
    return base64.b64encode(f"cursor:v2:{place}".encode()).decode()


def _place(cursor: str) -> int:
    try:
        return int(base64.b64decode(cursor, validate=True).removeprefix(b"cursor:v2:"))
    except ValueError:
        raise BadQuery(f"`{cursor}` does not appear to be a valid cursor.", "INVALID_CURSOR_ARGUMENTS") from None
