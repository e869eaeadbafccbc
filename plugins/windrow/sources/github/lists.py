"""The lists of a repository of GitHub, page by page, and who is in them: by REST or by GraphQL."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from windrow.model.answer import Answer
from windrow.model.errors import BadParameter, NotGiven, Unreadable, Unusable
from windrow.model.query import Query
from windrow.model.stream import Asked, Estimate, Flow, PlanFlow

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


def located(choice: Choice) -> Flow[list[Repository]]:
    """Find the repositories, each once, under whichever name it was given.

    :raises BadParameter: some are not there, or not for our eyes.
    """
    found: dict[int, Repository] = {}
    unknown = []
    for name in choice.repositories:
        try:
            answer: Answer = yield Asked(Query.of(f"/repos/{name}"), _repository)
        except NotGiven:
            unknown.append(name)
        except Unusable:
            continue
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
    repository: Repository, listing: str, plan: Callable[[Query, Answer | None], PlanFlow], *, graphql: bool
) -> PlanFlow:
    """Ask for the pages of a list, one after the other, and plan what follows from each.

    Where GitHub refuses a page, by a rule of its organization perhaps, or where it cannot be read or leads in a circle,
    the list ends, and the others go on.

    :param plan: is given each page, and None for its answer where GitHub does not give it: too large, too deep, or
        gone meanwhile. The list ends there.
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
        raise Unreadable("a repository should have id, full_name, stargazers_count and forks_count") from None


def rows(parsed: object) -> list[Mapping[str, Any]]:
    """Read a page of a list; an empty repository has none (204)."""
    found = [] if parsed is None else parsed
    if not isinstance(found, list) or not all(isinstance(row, Mapping) for row in found):
        raise Unreadable("a page of a list should be an array of objects")
    return found


def _stargazers(parsed: object) -> Mapping[str, Any]:
    try:
        assert isinstance(parsed, Mapping)  # noqa: S101 - caught below
        stargazers = parsed["data"]["repository"]["stargazers"]
        assert isinstance(stargazers["edges"], list)  # noqa: S101 - caught below
    except (AssertionError, KeyError, TypeError):
        raise Unreadable("a page of stargazers should hold data.repository.stargazers.edges") from None
    return dict(stargazers)


def _cursor(parsed: object) -> str:
    """Say behind which stargazer the next page begins; empty at the end."""
    info = _stargazers(parsed).get("pageInfo")
    if not isinstance(info, Mapping) or (info.get("hasNextPage") and not info.get("endCursor")):
        raise Unreadable("a page of stargazers does not say where the next one is")
    return str(info["endCursor"]) if info.get("hasNextPage") else ""


def starred(parsed: object) -> Iterable[tuple[object, Mapping[str, Any]]]:
    """Read when each stargazer on a page of GraphQL starred, and who it is."""
    for edge in _stargazers(parsed)["edges"]:
        node = edge.get("node") if isinstance(edge, Mapping) else None
        if not isinstance(node, Mapping) or not isinstance(node.get("databaseId"), int):
            raise Unreadable("a stargazer should have a node with a databaseId")
        yield edge.get("starredAt"), node


def member(row: Mapping[str, Any], listing: str) -> Mapping[str, Any] | None:
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


def ways(repositories: Sequence[Repository], choice: Choice) -> Sequence[Estimate]:
    """Count what both ways take at most: a user in several lists is counted in each, contributors are not known yet."""
    stars = [each.stars for each in repositories if STARGAZERS in choice.lists]
    forks = [each.forks for each in repositories if FORKS in choice.lists]
    points = sum(map(_pages, stars))
    pages = points + sum(map(_pages, forks))
    others = len(repositories) + sum(forks) + sum(map(_pages, forks))
    rest = len(repositories) + pages + sum(stars) + sum(forks)
    remark = "contributors come on top, some hundred a repository" if CONTRIBUTORS in choice.lists else ""
    return (
        Estimate("rest", rest, {"core": rest}, _HOURLY, remark),
        Estimate("graphql", others + points, {"core": others, "graphql": points}, _HOURLY, remark),
    )
