"""GitHub: who contributes to, stars or forks chosen repositories, and what these users tell of themselves.

``GET /repos/{owner}/{name}`` and its lists ``/contributors``, ``/stargazers`` and ``/forks`` by pages; then
``GET /user/{id}`` for each user, by number, as logins change hands. With ``"api": "graphql"`` the stargazers come
from ``POST /graphql`` with their details: a point for a hundred of them, where REST takes a hundred and one calls.

Both streams of a run lead the same conversation with the API; what one has asked the other finds kept.
"""

import hashlib
import re
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import orjson

from windrow.answer import Answer
from windrow.contract import Column, Contract, Kind
from windrow.errors import BadParameter, NotGiven, Unreadable
from windrow.policy import HTTP_POLICY, Action, Complaint, on
from windrow.query import Query
from windrow.response import Response
from windrow.sources.base import Conversation, Planned, Request, Stream, Way

CONTRIBUTORS, STARGAZERS, FORKS = LISTS = ("contributors", "stargazers", "forks")
_STAR_JSON = {"Accept": "application/vnd.github.star+json"}
_PARAMS: Mapping[str, Mapping[str, str]] = {
    CONTRIBUTORS: {"per_page": "100", "anon": "1"},
    STARGAZERS: {"per_page": "100"},
    FORKS: {"per_page": "100", "sort": "oldest"},
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(_[A-Za-z0-9]+)?/[A-Za-z0-9._-]{1,100}")
_PAGE = 100
_HOURLY = 5_000
"""Calls, or points, that a user has in an hour."""
_SILENT_S = 60.0
"""Pause after a secondary refusal that names none."""

# --- what GitHub's answers mean ----------------------------------------------------------------

_PRIMARY, _SECONDARY, _NO_RIGHT = "primary", "secondary", "no_right"
_TOO_LARGE, _TOO_DEEP, _GONE, _TROUBLE = "too_large", "too_deep", "gone", "trouble"
_LIMITED = {"RATE_LIMIT", "RATE_LIMITED"}
"""Types of GraphQL's errors: the first is the newer one."""
_FORBIDDEN = {"FORBIDDEN", "INSUFFICIENT_SCOPES"}


def complaint(response: Response) -> Complaint:
    """Tell apart what GitHub says by one status: in the order that its documentation gives."""
    body = response.body
    if response.status == 200:
        return _graphql_complaint(response) if body.lstrip().startswith((b'{"data"', b'{"errors"')) else Complaint()
    if response.status in {403, 429}:
        if response.retry_after_s is not None:
            return Complaint(_SECONDARY, response.retry_after_s)
        if response.headers.get("X-RateLimit-Remaining") == "0":
            return Complaint(_PRIMARY, _until_reset(response))
        if b"secondary rate limit" in body or b"abuse detection" in body:
            return Complaint(_SECONDARY, _SILENT_S)
        if b"Resource not accessible by" in body:
            return Complaint(_NO_RIGHT)
        if b"too large to list" in body:
            return Complaint(_TOO_LARGE)
    if response.status == 422 and b"pagination is limited" in body:
        return Complaint(_TOO_DEEP)
    return Complaint(wait_s=response.retry_after_s)


def _graphql_complaint(response: Response) -> Complaint:
    """GraphQL says everything with status 200. Data that comes with an error is not whole, and is never read."""
    try:
        told = orjson.loads(response.body)
        errors = told.get("errors") or []
        types = {str(error.get("type")) for error in errors}
        words = " ".join(str(error.get("message")) for error in errors)
        found = bool((told.get("data") or {}).get("repository"))
    except (orjson.JSONDecodeError, AttributeError, TypeError):
        return Complaint()  # the reader will say so
    if not errors:
        return Complaint()
    if response.retry_after_s is not None:
        return Complaint(_SECONDARY, response.retry_after_s)
    if types & _LIMITED or response.headers.get("X-RateLimit-Remaining") == "0":
        return Complaint(_PRIMARY, _until_reset(response))
    if "secondary rate limit" in words:
        return Complaint(_SECONDARY, _SILENT_S)
    if types & _FORBIDDEN or "required scopes" in words:
        return Complaint(_NO_RIGHT)
    return Complaint(_GONE if "NOT_FOUND" in types and not found else _TROUBLE)


def _until_reset(response: Response) -> float:
    try:
        return max(1.0, float(response.headers["X-RateLimit-Reset"]) - time.time() + 1.0)
    except (KeyError, ValueError):
        return _SILENT_S


POLICY = HTTP_POLICY.preceded_by(
    *(
        on(status, Action.SPENT, why, reason=reason)
        for status in (200, 403, 429)
        for reason, why in (
            (_PRIMARY, "the hour of this token's owner is used up"),
            (_SECONDARY, "too many calls at once, or in a minute, for this token's owner"),
        )
    ),
    on(200, Action.RETRY, "GraphQL could not do it this time", reason=_TROUBLE),
    on(200, Action.GAP, "GraphQL knows no such repository", reason=_GONE),
    *(
        on(status, Action.REFRESH, "the token lacks a right: another one may have it", reason=_NO_RIGHT)
        for status in (200, 403)
    ),
    on(403, Action.GAP, "a list that GitHub does not give because it is too large", reason=_TOO_LARGE),
    on(422, Action.GAP, "pages that GitHub does not give because they are too deep", reason=_TOO_DEEP),
    on(451, Action.GAP, "blocked for legal reasons"),
    complaint=complaint,
)

# --- the conversation --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository that was found. ``stars`` and ``forks`` are GitHub's counts."""

    id: int
    full_name: str
    stars: int
    forks: int


@dataclass(frozen=True, slots=True)
class Choice:
    """What a run wants to know, out of its params."""

    repositories: tuple[str, ...]
    lists: tuple[str, ...]
    graphql: bool

    @classmethod
    def of(cls, params: Mapping[str, object]) -> "Choice":
        """Read the params.

        :raises BadParameter: they cannot be meant.
        """
        named, lists = params.get("repositories"), params.get("lists") or list(LISTS)
        if not isinstance(named, list) or not named:
            raise BadParameter(
                "repositories must be a list of names, and not empty.",
                advice='Give it like {"repositories": ["apache/airflow"]}.',
            )
        for name in named:
            if not isinstance(name, str) or not _NAME.fullmatch(name.strip()):
                raise BadParameter(
                    f"{str(name)[:80]!r} is no name of a repository.", advice='It should look like "apache/airflow".'
                )
        if not isinstance(lists, list) or not set(lists) <= set(LISTS):
            raise BadParameter(f"lists must be some of {', '.join(LISTS)}.", advice="Leave it out for all of them.")
        api = params.get("api") or "rest"
        if api not in {"rest", "graphql"}:
            raise BadParameter(f"api is {str(api)[:80]!r}.", advice="It should be rest or graphql.")
        names = {name.strip().lower(): name.strip() for name in named}
        return cls(tuple(names.values()), tuple(each for each in LISTS if each in lists), api == "graphql")


def located(choice: Choice) -> Generator[Query, Any, list[Repository]]:
    """Find the repositories, each once, under whichever name it was given.

    :raises BadParameter: some are not there, or not for our eyes.
    """
    found: dict[int, Repository] = {}
    unknown = []
    for name in choice.repositories:
        try:
            answer: Answer = yield Query.of(f"/repos/{name}")
        except NotGiven:
            unknown.append(name)
        else:
            repository = _repository(answer.parsed)
            found.setdefault(repository.id, repository)
    if unknown:
        raise BadParameter(
            f"GitHub knows no repository {', '.join(map(repr, unknown))}, or it is private.",
            advice="Mend the param repositories, or use tokens that may read them. Nothing was listed.",
        )
    return list(found.values())


def walked(
    repository: Repository, listing: str, plan: Callable[[Query, Answer | None], Sequence[Query]], *, graphql: bool
) -> Conversation:
    """Ask for the pages of a list, one after the other, and plan what follows from each.

    :param plan: is given each page, and None for its answer where GitHub does not give it: too large, too deep, or
        gone meanwhile. The list ends there.
    :raises QueryRefused: GitHub refuses it for another reason, such as a rule of its organization.
    :raises Unreadable: a page is not what was promised, or the pages lead in a circle.
    """
    query: Query | None = first_page(repository, listing, graphql=graphql)
    keys = set()
    while query is not None:
        keys.add(query.key)
        try:
            answer: Answer | None = yield query
        except NotGiven:
            answer = None
        yield Planned(plan(query, answer))
        query = following(repository, query, answer) if answer else None
        if query is not None and query.key in keys:
            raise Unreadable(f"its next page is {query.key!r}, which was there before")


def first_page(repository: Repository, listing: str, *, graphql: bool) -> Query:
    """Make the query for the first page of a list. Its key says whose it is, which later pages' paths do not."""
    if listing == STARGAZERS and graphql:
        return _stars_query(repository, "")
    params = _PARAMS[listing]
    return Query.of(
        f"/repos/{repository.full_name}/{listing}",
        params,
        headers=_STAR_JSON if listing == STARGAZERS else None,
        known_by={**params, **_known_by(repository)},
    )


def following(repository: Repository, query: Query, answer: Answer) -> Query | None:
    """Make the query for the page after this answer; None where it is the last."""
    if query.body:
        info = _stargazers(answer.parsed).get("pageInfo")
        if not isinstance(info, Mapping) or (info.get("hasNextPage") and not info.get("endCursor")):
            raise Unreadable("a page of stargazers does not say where the next one is", key=query.key)
        return _stars_query(repository, str(info["endCursor"])) if info.get("hasNextPage") else None
    if not answer.next_link:
        return None
    page = query.following(answer.next_link)
    params = dict(page.params)
    return Query.of(page.path, params, headers=dict(page.headers), known_by={**params, **_known_by(repository)})


def _known_by(repository: Repository) -> dict[str, str]:
    return {"repository": repository.full_name, "id": str(repository.id)}


_NODE = (
    "databaseId login name company websiteUrl location email isHireable bio twitterUsername isSiteAdmin "
    "createdAt updatedAt"
)
_STARS = (
    "query($owner: String!, $name: String!, $after: String) { "
    "repository(owner: $owner, name: $name) { stargazers(first: 100, after: $after) { "
    f"pageInfo {{ hasNextPage endCursor }} edges {{ starredAt node {{ {_NODE} }} }} }} }} }}"
)


def _stars_query(repository: Repository, after: str) -> Query:
    owner, _, name = repository.full_name.partition("/")
    body = orjson.dumps({"query": _STARS, "variables": {"owner": owner, "name": name, "after": after or None}})
    return Query.of(
        "/graphql", body=body.decode(), known_by={"list": STARGAZERS, "after": after, **_known_by(repository)}
    )


# --- readers of answers ------------------------------------------------------------------------


def _repository(parsed: object) -> Repository:
    try:
        assert isinstance(parsed, Mapping)  # noqa: S101 - caught below
        return Repository(
            int(parsed["id"]), str(parsed["full_name"]), int(parsed["stargazers_count"]), int(parsed["forks_count"])
        )
    except (AssertionError, KeyError, TypeError, ValueError):
        raise Unreadable("a repository should have id, full_name, stargazers_count and forks_count") from None


def _rows(parsed: object) -> list[Mapping[str, Any]]:
    """Read a page of a list; an empty repository has none (204)."""
    rows = [] if parsed is None else parsed
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise Unreadable("a page of a list should be an array of objects")
    return rows


def _stargazers(parsed: object) -> Mapping[str, Any]:
    try:
        assert isinstance(parsed, Mapping)  # noqa: S101 - caught below
        stargazers = parsed["data"]["repository"]["stargazers"]
        assert isinstance(stargazers["edges"], list)  # noqa: S101 - caught below
    except (AssertionError, KeyError, TypeError):
        raise Unreadable("a page of stargazers should hold data.repository.stargazers.edges") from None
    return dict(stargazers)


def _starred(parsed: object) -> Iterable[tuple[object, Mapping[str, Any]]]:
    """Read when each stargazer on a page of GraphQL starred, and who it is."""
    for edge in _stargazers(parsed)["edges"]:
        node = edge.get("node") if isinstance(edge, Mapping) else None
        if not isinstance(node, Mapping) or not isinstance(node.get("databaseId"), int):
            raise Unreadable("a stargazer should have a node with a databaseId")
        yield edge.get("starredAt"), node


def _member(row: Mapping[str, Any], listing: str) -> Mapping[str, Any] | None:
    """Return the user in a row of a list; None for authors without an account, and accounts that are gone."""
    user = {CONTRIBUTORS: row, STARGAZERS: row.get("user"), FORKS: row.get("owner")}[listing]
    if not isinstance(user, Mapping) or "id" not in user:
        if user is None or row.get("type") == "Anonymous":
            return None
        raise Unreadable(f"a row of {listing} has neither a user nor says that there is none")
    if isinstance(user["id"], bool) or not isinstance(user["id"], int):
        raise Unreadable(f"a row of {listing} has a user whose id is {str(user['id'])[:40]!r}")
    return user


# --- estimate ----------------------------------------------------------------------------------


def _pages(count: int) -> int:
    """Count the pages of a list; an empty one has one."""
    return max(1, -(-count // _PAGE))


def _ways(repositories: Sequence[Repository], choice: Choice) -> Sequence[Way]:
    """Count what both ways take at most: a user in several lists is counted in each, contributors are not known yet."""
    stars = [each.stars for each in repositories if STARGAZERS in choice.lists]
    forks = [each.forks for each in repositories if FORKS in choice.lists]
    points = sum(map(_pages, stars))
    pages = points + sum(map(_pages, forks))
    others = len(repositories) + sum(forks) + sum(map(_pages, forks))
    rest = len(repositories) + pages + sum(stars) + sum(forks)
    remark = "contributors come on top, some hundred a repository" if CONTRIBUTORS in choice.lists else ""
    return (
        Way("rest", rest, {"core": rest}, _HOURLY, remark),
        Way("graphql", others + points, {"core": others, "graphql": points}, _HOURLY, remark),
    )


# --- the streams -------------------------------------------------------------------------------


class GithubStream(Stream):
    """What both streams have in common."""

    policy = POLICY
    headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}  # noqa: RUF012 - as declared
    revisits = True


class Memberships(GithubStream):
    """One record a member of a list of a repository. Its plan are the pages of the lists."""

    dataset = "github_memberships"
    contract = Contract((
        Column("repository_id", "repository_id", Kind.INTEGER, "Number of the repository; it stays.", required=True),
        Column("repository", "repository", Kind.STRING, "owner/name, as it was found.", required=True),
        Column("list", "list", Kind.STRING, "contributors, stargazers or forks.", required=True),
        Column("member_key", "member_key", Kind.STRING, "Number of the user behind a u, or a digest.", required=True),
        Column("user_id", "user_id", Kind.INTEGER, "Number of the user; null for authors without an account."),
        Column("login", "login", Kind.STRING, "Login as the list has it, which may lag behind a rename."),
        Column("contributions", "contributions", Kind.INTEGER, "Commits, in contributors."),
        Column("since", "since", Kind.TIMESTAMP, "When starred or forked; null in contributors."),
    ))

    def plan(self, request: Request) -> Conversation:
        """List every page, and plan it: that it was asked for already is for the one who settles it to see."""
        choice = Choice.of(request.params)
        repositories = yield from located(choice)
        for repository in repositories:
            for listing in choice.lists:
                yield from walked(repository, listing, lambda query, _: [query], graphql=choice.graphql)

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Read the members on a page."""
        about = _about(query)
        rows = _graphql_members(answer) if query.body else _rest_members(answer, _listing(query))
        return [self.contract.record({**about, **row}) for row in rows]


def _listing(query: Query) -> str:
    """Name the list that a page by REST is of: the end of its path, also where that names the repository by number."""
    return query.path.rpartition("/")[2]


def _about(query: Query) -> dict[str, object]:
    """Say whose page it is. A first page's path tells the name too, and then its key may be too long to be whole."""
    known = parse_qs(query.key.partition("?")[2])
    _, kind, *named = query.path.split("/")
    name = "/".join(named[:2]) if kind == "repos" else known["repository"][0]
    return {"repository_id": int(known["id"][0]), "repository": name}


def _graphql_members(answer: object) -> Iterable[dict[str, object]]:
    for starred_at, node in _starred(answer):
        yield {
            "list": STARGAZERS,
            "member_key": f"u{node['databaseId']}",
            "user_id": node["databaseId"],
            "login": node.get("login"),
            "since": starred_at,
        }


def _rest_members(answer: object, listing: str) -> Iterable[dict[str, object]]:
    for row in _rows(answer):
        user = _member(row, listing)
        if user is None and row.get("type") != "Anonymous":
            continue  # the account is gone, and with it all that could be said
        since = {CONTRIBUTORS: None, STARGAZERS: row.get("starred_at"), FORKS: row.get("created_at")}[listing]
        if since is None and listing != CONTRIBUTORS:
            raise Unreadable(f"a row of {listing} does not say when")
        yield {
            "list": listing,
            "member_key": f"u{user['id']}" if user else _digest(row),
            "user_id": user["id"] if user else None,
            "login": user.get("login") if user else None,
            "contributions": row.get("contributions") if listing == CONTRIBUTORS else None,
            "since": since,
        }


def _digest(row: Mapping[str, Any]) -> str:
    """Tell authors without an account apart, without keeping their addresses."""
    who = f"{row.get('email')}|{row.get('name')}"
    return "a" + hashlib.blake2b(who.encode(), digest_size=12, person=b"windrow").hexdigest()


class Users(GithubStream):
    """One record a user."""

    dataset = "github_users"
    contract = Contract((
        Column("user_id", "id", Kind.INTEGER, "Number of the account; it stays when the login changes.", required=True),
        Column("login", "login", Kind.STRING, "Present login.", required=True),
        Column("type", "type", Kind.STRING, "User, Bot or Organization.", required=True),
        Column("name", "name", Kind.STRING, "Name, as the user writes it."),
        Column("company", "company", Kind.STRING, "Company, as the user writes it."),
        Column("blog", "blog", Kind.STRING, "Link, as the user writes it."),
        Column("location", "location", Kind.STRING, "Place, as the user writes it."),
        Column("email", "email", Kind.STRING, "Address that the user shows to all."),
        Column("hireable", "hireable", Kind.BOOLEAN, "True where the user says so."),
        Column("bio", "bio", Kind.STRING, "What the user says of himself."),
        Column("twitter_username", "twitter_username", Kind.STRING, "Name on X."),
        Column("site_admin", "site_admin", Kind.BOOLEAN, "Works for GitHub."),
        Column("public_repos", "public_repos", Kind.INTEGER, "Public repositories; null from GraphQL."),
        Column("public_gists", "public_gists", Kind.INTEGER, "Public gists; null from GraphQL."),
        Column("followers", "followers", Kind.INTEGER, "Followers; null from GraphQL."),
        Column("following", "following", Kind.INTEGER, "Followed accounts; null from GraphQL."),
        Column("created_at", "created_at", Kind.TIMESTAMP, "When the account was made.", required=True),
        Column("updated_at", "updated_at", Kind.TIMESTAMP, "When the profile was last changed.", required=True),
    ))

    def plan(self, request: Request) -> Conversation:
        """Plan a call a user, as the pages arrive; a page of GraphQL brings its users with it."""
        choice = Choice.of(request.params)
        repositories = yield from located(choice)
        told: set[int] = set()

        def plan(query: Query, answer: Answer | None) -> Sequence[Query]:
            if answer is None:
                return ()  # a gap of the members
            if query.body:
                told.update(user["id"] for user in _graphql_users(answer.parsed))
                return (query,)
            members = (_member(row, _listing(query)) for row in _rows(answer.parsed))
            return [Query.of(f"/user/{user['id']}") for user in members if user and user["id"] not in told]

        # Lists that bring details come first: whom they tell of need not be asked for.
        for listing in sorted(choice.lists, key=lambda listing: not (choice.graphql and listing == STARGAZERS)):
            for repository in repositories:
                yield from walked(repository, listing, plan, graphql=choice.graphql)

    def estimate(self, request: Request) -> Generator[Query, Any, Sequence[Way]]:
        """Say what both ways take, by GitHub's own counts: a call a repository."""
        choice = Choice.of(request.params)
        repositories = yield from located(choice)
        return _ways(repositories, choice)

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Read one user, who must be the one that was asked for; or the users on a page of GraphQL."""
        if query.body:
            return [self.contract.record(user) for user in _graphql_users(answer)]
        if not isinstance(answer, Mapping):
            raise Unreadable("a user should be an object")
        record = self.contract.record({name: answer[name] for name in answer if not _DERIVED.fullmatch(name)})
        if f"/user/{record['user_id']}" != query.path:
            raise Unreadable(f"asked for {query.path}, the answer is about {record['user_id']}")
        return (record,)


_DERIVED = re.compile(r".*_url|url|node_id|gravatar_id|user_view_type")
"""Fields that follow from the others, or from who asks."""


def _graphql_users(parsed: object) -> list[dict[str, Any]]:
    """Read the users on a page of GraphQL, in the fields of REST."""
    return [
        {
            "id": node["databaseId"],
            "login": node.get("login"),
            "type": "User",
            "name": node.get("name"),
            "company": node.get("company"),
            "blog": node.get("websiteUrl"),
            "location": node.get("location"),
            "email": node.get("email") or None,
            "hireable": node.get("isHireable") or None,
            "bio": node.get("bio"),
            "twitter_username": node.get("twitterUsername"),
            "site_admin": node.get("isSiteAdmin"),
            "created_at": node.get("createdAt"),
            "updated_at": node.get("updatedAt"),
        }
        for _, node in _starred(parsed)
    ]
