"""The lists of a GitHub repository, page by page, and their members: by REST or by GraphQL."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from windrow.model.answer import Answer
from windrow.model.errors import BadParameter, NotGiven, Unreadable, Unusable
from windrow.model.query import Query
from windrow.model.stream import Asked, Estimate, Flow, Gap, PlanFlow

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
_GHOST = 10_137
"""Id of the account "ghost", which stands for any deleted account."""
_WHY_MISSING = {451: "blocked for legal reasons", 403: "blocked by GitHub"}
"""Why GitHub does not return a repository, by status."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository. ``stars`` and ``forks`` are GitHub's counts."""

    id: int
    full_name: str
    stars: int
    forks: int


@dataclass(frozen=True, slots=True)
class Choice:
    """What a run harvests: its params, checked."""

    repositories: tuple[str, ...]
    lists: tuple[str, ...]
    graphql: bool

    @classmethod
    def of(cls, params: Mapping[str, object]) -> "Choice":
        """Read the params.

        :raises BadParameter: a param is missing or has an invalid value.
        """
        named, lists = params.get("repositories"), params.get("lists") or list(LISTS)
        if not isinstance(named, list) or not named:
            raise BadParameter(
                "The param repositories must be a list with at least one name.",
                advice='Trigger a run with {"repositories": ["apache/airflow"]}, for example.',
            )
        for name in named:
            if not isinstance(name, str) or not _NAME.fullmatch(name.strip()):
                raise BadParameter(
                    f"{str(name)[:80]!r} is not a valid repository name.",
                    advice='Use owner/name, like "apache/airflow".',
                )
        if not isinstance(lists, list) or not set(lists) <= set(LISTS):
            raise BadParameter(
                f"The param lists must be a list of some of {', '.join(LISTS)}, not {lists!r:.80}.",
                advice="Correct it, or leave it out for all of them.",
            )
        api = params.get("api") or "rest"
        if api not in {"rest", "graphql"}:
            raise BadParameter(f"The param api must be rest or graphql, not {api!r:.80}.", advice="Correct it.")
        names = {name.strip().lower(): name.strip() for name in named}
        return cls(tuple(names.values()), tuple(each for each in LISTS if each in lists), api == "graphql")


def find_repositories(choice: Choice) -> Flow[list[Repository]]:
    """Find the repositories of a run, each once, also if it is named twice.

    A repository that GitHub does not return is a gap, if there are others.

    :raises BadParameter: there are no others. No list was requested.
    """
    found: dict[int, Repository] = {}
    gaps: list[Gap] = []
    for name in choice.repositories:
        query = Query.of(f"/repos/{name}")
        try:
            answer: Answer = yield Asked(query, _repository)
        except NotGiven as error:
            status = error.status or 0
            why = _WHY_MISSING.get(status, "not found, or not visible to these tokens")
            gaps.append(Gap(query, f"The repository {name!r} is {why} (HTTP {status}).", status))
        except Unusable:
            continue
        else:
            repository = _repository(answer.parsed)
            found.setdefault(repository.id, repository)
    if gaps and not found:
        raise BadParameter(
            " ".join(gap.reason for gap in gaps),
            advice="Correct the param repositories, or use tokens that can read them. No list was requested.",
        )
    yield from gaps
    return list(found.values())


def list_pages(
    repository: Repository, listing: str, plan: Callable[[Query, Answer | None], PlanFlow], *, graphql: bool
) -> PlanFlow:
    """Request the pages of a list, one after the other, and plan what follows from each.

    A page that GitHub refuses, that has no answer, that cannot be read or that leads in a loop ends this list. It is in
    the quarantine. The other lists are not affected.

    :param plan: is called with each page; with None as its answer if GitHub does not return it: it is too large, too
        deep, blocked, or was deleted. The list ends there.
    """
    query: Query | None = first_page(repository, listing, graphql=graphql)
    while query is not None:
        try:
            answer: Answer | None = yield Asked(query, _cursor if query.body else rows)
        except NotGiven:
            answer = None
        except Unusable:
            return
        yield from plan(query, answer)
        query = following(repository, query, answer) if answer else None


def first_page(repository: Repository, listing: str, *, graphql: bool) -> Query:
    """Make the query for the first page of a list. Its key has the repository; paths of later pages do not name it."""
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
    """Make the query for the page after this answer; None if it is the last."""
    if query.body:
        after = _cursor(answer.parsed)
        return _stars_query(repository, after) if after else None
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
        raise Unreadable("a repository must have id, full_name, stargazers_count and forks_count") from None


def rows(parsed: object) -> list[object]:
    """Return the rows of a page of a list; an empty repository has none (204).

    :raises Unreadable: this is not a page, or no row of it is an object.
    """
    found = [] if parsed is None else parsed
    if not isinstance(found, list) or (found and not any(isinstance(row, Mapping) for row in found)):
        raise Unreadable("a page of a list must be an array of objects")
    return found


def _stargazers(parsed: object) -> Mapping[str, Any]:
    try:
        assert isinstance(parsed, Mapping)  # noqa: S101 - caught below
        stargazers = parsed["data"]["repository"]["stargazers"]
        assert isinstance(stargazers["edges"], list)  # noqa: S101 - caught below
    except (AssertionError, KeyError, TypeError):
        raise Unreadable("a page of stargazers must have data.repository.stargazers.edges") from None
    return dict(stargazers)


def _cursor(parsed: object) -> str:
    """Return the cursor of the next page; empty at the end."""
    info = _stargazers(parsed).get("pageInfo")
    if not isinstance(info, Mapping) or (info.get("hasNextPage") and not info.get("endCursor")):
        raise Unreadable("a page of stargazers has no cursor of the next page")
    return str(info["endCursor"]) if info.get("hasNextPage") else ""


def edges(parsed: object) -> list[object]:
    """Return the stargazers on a page of GraphQL."""
    found: list[object] = _stargazers(parsed)["edges"]
    return found


def starred(edge: object) -> tuple[object, Mapping[str, Any]]:
    """Return when a stargazer of GraphQL starred, and the user."""
    node = edge.get("node") if isinstance(edge, Mapping) else None
    if not isinstance(edge, Mapping) or not isinstance(node, Mapping) or not isinstance(node.get("databaseId"), int):
        raise Unreadable("a stargazer must have a node with a databaseId")
    return edge.get("starredAt"), node


def member(row: object, listing: str) -> Mapping[str, Any] | None:
    """Return the user in a row of a list; None for an author without an account, and for a deleted account.

    :raises Unreadable: the row is not an object, or has an incomplete user.
    """
    if not isinstance(row, Mapping):
        raise Unreadable(f"a row of {listing} is {_shown(row)}")
    if listing == CONTRIBUTORS and row.get("type") == "Anonymous":
        return None
    field = _USER_IN[listing]
    if field and field not in row:
        raise Unreadable(f"a row of {listing} has no {field}")
    user = row[field] if field else row
    if user is None:
        return None
    number = user.get("id") if isinstance(user, Mapping) else None
    if number is None:
        raise Unreadable(f"a row of {listing} has a user without an id")
    if isinstance(number, bool) or not isinstance(number, int):
        raise Unreadable(f"a row of {listing} has a user with the id {_shown(number)}")
    return None if number == _GHOST else user


_USER_IN = {CONTRIBUTORS: "", STARGAZERS: "user", FORKS: "owner"}
"""The field of a row that has the user; a row of contributors is one."""


def _shown(value: object) -> str:
    return "null" if value is None else repr(value)[:40]


# --- estimate ----------------------------------------------------------------------------------


def _pages(count: int) -> int:
    """Count the pages of a list; an empty one has one."""
    return max(1, -(-count // _PAGE))


def ways(repositories: Sequence[Repository], choice: Choice) -> Sequence[Estimate]:
    """Return the maximum cost of both APIs. A user in several lists counts in each; contributors are not known yet."""
    stars = [each.stars for each in repositories if STARGAZERS in choice.lists]
    forks = [each.forks for each in repositories if FORKS in choice.lists]
    points = sum(map(_pages, stars))
    pages = points + sum(map(_pages, forks))
    others = len(repositories) + sum(forks) + sum(map(_pages, forks))
    rest = len(repositories) + pages + sum(stars) + sum(forks)
    remark = "plus contributors, some hundred per repository" if CONTRIBUTORS in choice.lists else ""
    return (
        Estimate("rest", rest, {"core": rest}, _HOURLY, remark),
        Estimate("graphql", others + points, {"core": others, "graphql": points}, _HOURLY, remark),
    )
