"""GitHub: the contributors, stargazers and forkers of chosen repositories, and their profiles.

``GET /repos/{owner}/{name}`` and its lists ``/contributors``, ``/stargazers`` and ``/forks``, page by page; then
``GET /user/{id}`` for each user, by id, because logins change owners. With ``"api": "graphql"`` the stargazers come
from ``POST /graphql`` with their details: one point for 100 of them, where REST needs 101 calls.

Both streams of a run request the same lists. The second one finds the answers of the first one in MongoDB.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from windrow.model.answer import Answer
from windrow.model.contract import Column, Contract, Kind
from windrow.model.errors import Unreadable
from windrow.model.plausible import Plausible
from windrow.model.query import Query
from windrow.model.stream import (
    CredentialKind,
    Estimate,
    Flow,
    PlanFlow,
    Planned,
    Request,
    Stream,
    read_each,
    read_some,
)
from windrow.model.table import Table
from windrow.sources.github.lists import (
    CONTRIBUTORS,
    FORKS,
    STARGAZERS,
    Choice,
    edges,
    find_repositories,
    list_pages,
    member,
    rows,
    starred,
    ways,
)
from windrow.sources.github.policy import LIMITS, POLICY


class GithubStream(Stream):
    """The common part of both streams."""

    policy = POLICY
    rate_limits = LIMITS
    headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}  # noqa: RUF012 - as declared
    conditional_requests = True
    person = {"user_id": ("id", "databaseId"), "login": ("login",)}  # noqa: RUF012 - as declared
    credentials = {  # noqa: RUF012 - as declared
        "apps": CredentialKind(
            "windrow.sources.github.app_token:credential", ("app_id", "private_key (PEM)", "installation_id")
        )
    }


class Memberships(GithubStream):
    """One record per member of a list of a repository. Its plan consists of the pages of the lists."""

    dataset = "github_memberships"
    endpoint = "/repos/{owner}/{name}/{list}"
    table = Table(
        key=("repository_id", "list", "member_key"),
        cluster=("repository_id", "list"),
        description="Members of the lists of repositories, one row each.",
    )
    plausible = Plausible(rows=0, not_compared=("contributions", "since"))  # runs list other repositories, other lists
    contract = Contract((
        Column(
            "repository_id", "repository_id", Kind.INTEGER, "Id of the repository; it never changes.", required=True
        ),
        Column("repository", "repository", Kind.STRING, "owner/name, as GitHub returned it.", required=True),
        Column("list", "list", Kind.STRING, "contributors, stargazers or forks.", required=True),
        Column(
            "member_key", "member_key", Kind.STRING, "u and the user id, or a key without an account.", required=True
        ),
        Column("user_id", "user_id", Kind.INTEGER, "Id of the user; null without an account, or if it was deleted."),
        Column("login", "login", Kind.STRING, "Login in the list, which may be older than a rename."),
        Column("contributions", "contributions", Kind.INTEGER, "Commits; only in contributors."),
        Column("since", "since", Kind.TIMESTAMP, "Time of the star or the fork; null in contributors."),
    ))

    def plan(self, request: Request) -> PlanFlow:
        """List every page, and plan it. Discovery notices that it has been requested already."""
        choice = Choice.of(request.params)
        repositories = yield from find_repositories(choice)
        for repository in repositories:
            for listing in choice.lists:
                yield from list_pages(repository, listing, _page, graphql=choice.graphql)

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Read the members on a page."""
        return self.read(query, answer)[0]

    def read(self, query: Query, answer: object) -> tuple[list[dict[str, object]], list[Unreadable]]:
        """Read each member on a page by itself: an odd one does not affect the others."""
        about, listing = _about(query), STARGAZERS if query.body else _listing(query)
        taken: set[str] = set()

        def read_member(row: object) -> dict[str, object]:
            fields = _graphql_member(row) if query.body else _rest_member(row, listing)
            key = str(fields["member_key"])
            # Two members without an account may have starred in the same second.
            while fields["member_key"] in taken and fields["user_id"] is None and listing != CONTRIBUTORS:
                fields["member_key"] = key = f"{key}+"
            record = self.contract.record({**about, "list": listing, **fields})
            taken.add(key)
            return record

        return read_some(edges(answer) if query.body else rows(answer), read_member)


def _page(query: Query, _: Answer | None) -> PlanFlow:
    yield Planned([query])


def _listing(query: Query) -> str:
    """Return the list of a REST page: the end of its path, also if the path has the id of the repository."""
    return query.path.rpartition("/")[2]


def _about(query: Query) -> dict[str, object]:
    """Return the repository of a page. The path of a first page has the name, and its key may be shortened."""
    known = parse_qs(query.key.partition("?")[2])
    _, kind, *named = query.path.split("/")
    name = "/".join(named[:2]) if kind == "repos" else known["repository"][0]
    return {"repository_id": int(known["id"][0]), "repository": name}


def _graphql_member(edge: object) -> dict[str, object]:
    starred_at, node = starred(edge)
    number = node["databaseId"]
    return {"member_key": f"u{number}", "user_id": number, "login": node.get("login"), "since": starred_at}


def _rest_member(row: object, listing: str) -> dict[str, object]:
    """Read a row. A star or a fork of a deleted account counts: its time is its key."""
    user = member(row, listing)
    assert isinstance(row, Mapping)  # noqa: S101 - `member` has checked it
    since = {CONTRIBUTORS: None, STARGAZERS: row.get("starred_at"), FORKS: row.get("created_at")}[listing]
    if since is None and listing != CONTRIBUTORS:
        raise Unreadable(f"a row of {listing} has no time")
    key = f"u{user['id']}" if user else _digest(row) if listing == CONTRIBUTORS else f"d{since}"
    return {
        "member_key": key,
        "user_id": user["id"] if user else None,
        "login": user.get("login") if user else None,
        "contributions": row.get("contributions") if listing == CONTRIBUTORS else None,
        "since": since,
    }


def _digest(row: Mapping[str, Any]) -> str:
    """Return a key for an author without an account, which does not contain the e-mail address."""
    who = f"{row.get('email')}|{row.get('name')}"
    return "a" + hashlib.blake2b(who.encode(), digest_size=12, person=b"windrow").hexdigest()


OWNER_ONLY = frozenset({
    *("business_plus", "collaborators", "disk_usage", "ldap_dn", "notification_email", "owned_private_repos"),
    *("plan", "private_gists", "total_private_repos", "two_factor_authentication"),
})
"""Fields of GitHub's user schema that only the owner of the token gets (docs: "Get the authenticated user")."""


_REST_ONLY = ("public_repos", "public_gists", "followers", "following")
"""Columns that GraphQL does not return."""


class Users(GithubStream):
    """One record per user."""

    dataset = "github_users"
    endpoint = "/user/{id}"
    table = Table(
        key=("user_id",),
        keep=_REST_ONLY,
        description="Users of GitHub, one row each.",
    )
    plausible = Plausible(rows=0, not_compared=_REST_ONLY)  # runs are about other repositories
    owner_only = OWNER_ONLY
    contract = Contract((
        Column("user_id", "id", Kind.INTEGER, "Id of the account; it never changes.", required=True),
        Column("login", "login", Kind.STRING, "Current login.", required=True),
        Column("type", "type", Kind.STRING, "User, Bot, Organization, Mannequin, ...", required=True),
        Column("name", "name", Kind.STRING, "Name, as entered by the user."),
        Column("company", "company", Kind.STRING, "Company, as entered by the user."),
        Column("blog", "blog", Kind.STRING, "Link, as entered by the user."),
        Column("location", "location", Kind.STRING, "Place, as entered by the user."),
        Column("email", "email", Kind.STRING, "Public e-mail address."),
        Column("hireable", "hireable", Kind.BOOLEAN, "True if the user says so."),
        Column("bio", "bio", Kind.STRING, "Biography, as entered by the user."),
        Column("twitter_username", "twitter_username", Kind.STRING, "Name on X."),
        Column("site_admin", "site_admin", Kind.BOOLEAN, "Works for GitHub."),
        Column("public_repos", "public_repos", Kind.INTEGER, "Public repositories; null from GraphQL."),
        Column("public_gists", "public_gists", Kind.INTEGER, "Public gists; null from GraphQL."),
        Column("followers", "followers", Kind.INTEGER, "Followers; null from GraphQL."),
        Column("following", "following", Kind.INTEGER, "Followed accounts; null from GraphQL."),
        Column("created_at", "created_at", Kind.TIMESTAMP, "When the account was created.", required=True),
        Column("updated_at", "updated_at", Kind.TIMESTAMP, "When the profile was last changed.", required=True),
    ))

    def plan(self, request: Request) -> PlanFlow:
        """Plan one call per user, as the pages arrive. A page of GraphQL contains its users, and is planned itself."""
        choice = Choice.of(request.params)
        repositories = yield from find_repositories(choice)
        known: set[int] = set()

        def plan(query: Query, answer: Answer | None) -> PlanFlow:
            if answer is None:
                return  # a gap of the members
            if query.body:
                users, errors = read_each(edges(answer.parsed), starred)
                known.update(node["databaseId"] for _, node in users)
                yield from _page(query, answer)
            else:
                listing = _listing(query)
                members, errors = read_each(rows(answer.parsed), lambda row: member(row, listing))
                yield Planned(Query.of(f"/user/{user['id']}") for user in members if user and user["id"] not in known)
            if errors:
                yield Unreadable(f"{len(errors)} rows are left out, the first because {errors[0].reason}")

        # Lists with details come first: their users need no call.
        for listing in sorted(choice.lists, key=lambda listing: not (choice.graphql and listing == STARGAZERS)):
            for repository in repositories:
                yield from list_pages(repository, listing, plan, graphql=choice.graphql)

    def estimate(self, request: Request) -> Flow[Sequence[Estimate]]:
        """Return the cost of both APIs, from the counts of each repository: one call per repository."""
        choice = Choice.of(request.params)
        repositories = yield from find_repositories(choice)
        return ways(repositories, choice)

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Read one user, which must be the requested one; or the users on a page of GraphQL."""
        if query.body:
            return self.read(query, answer)[0]
        if not isinstance(answer, Mapping):
            raise Unreadable("a user must be an object")
        record = self.contract.record({name: answer[name] for name in answer if not _DERIVED.fullmatch(name)})
        if f"/user/{record['user_id']}" != query.path:
            raise Unreadable(f"requested {query.path}, but the answer is about {record['user_id']}")
        return (record,)

    def read(self, query: Query, answer: object) -> tuple[Sequence[dict[str, object]], Sequence[Unreadable]]:
        """Read one user; or each user on a page of GraphQL by itself."""
        if not query.body:
            return super().read(query, answer)
        return read_some(edges(answer), lambda edge: self.contract.record(_graphql_user(edge)))


_DERIVED = re.compile(r".*_url|url|node_id|gravatar_id|user_view_type")
"""Fields that follow from the others, or from who asks."""


def _graphql_user(edge: object) -> dict[str, Any]:
    """Read a user of GraphQL, as the fields of REST."""
    _, node = starred(edge)
    return {
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
