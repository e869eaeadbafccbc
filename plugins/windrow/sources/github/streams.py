"""GitHub: who contributes to, stars or forks chosen repositories, and what these users tell of themselves.

``GET /repos/{owner}/{name}`` and its lists ``/contributors``, ``/stargazers`` and ``/forks`` by pages; then
``GET /user/{id}`` for each user, by number, as logins change hands. With ``"api": "graphql"`` the stargazers come
from ``POST /graphql`` with their details: a point for a hundred of them, where REST takes a hundred and one calls.

Both streams of a run lead the same conversation with the API; what one has asked the other finds kept.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from windrow.model.answer import Answer
from windrow.model.contract import Column, Contract, Kind
from windrow.model.errors import Unreadable
from windrow.model.query import Query
from windrow.model.stream import CredentialKind, Estimate, Flow, PlanFlow, Planned, Request, Stream
from windrow.sources.github.lists import (
    CONTRIBUTORS,
    FORKS,
    STARGAZERS,
    Choice,
    located,
    member,
    rows,
    starred,
    walked,
    ways,
)
from windrow.sources.github.policy import LIMITS, POLICY


class GithubStream(Stream):
    """What both streams have in common."""

    policy = POLICY
    rate_limits = LIMITS
    headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}  # noqa: RUF012 - as declared
    conditional_requests = True
    credentials = {  # noqa: RUF012 - as declared
        "apps": CredentialKind(
            "windrow.sources.github.app_token:credential", ("app_id", "private_key (PEM)", "installation_id")
        )
    }


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

    def plan(self, request: Request) -> PlanFlow:
        """List every page, and plan it: that it was asked for already is for the one who settles it to see."""
        choice = Choice.of(request.params)
        repositories = yield from located(choice)
        for repository in repositories:
            for listing in choice.lists:
                yield from walked(repository, listing, _page, graphql=choice.graphql)

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Read the members on a page."""
        about = _about(query)
        members = _graphql_members(answer) if query.body else _rest_members(answer, _listing(query))
        return [self.contract.record({**about, **each}) for each in members]


def _page(query: Query, _: Answer | None) -> PlanFlow:
    yield Planned([query])


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
    for starred_at, node in starred(answer):
        yield {
            "list": STARGAZERS,
            "member_key": f"u{node['databaseId']}",
            "user_id": node["databaseId"],
            "login": node.get("login"),
            "since": starred_at,
        }


def _rest_members(answer: object, listing: str) -> Iterable[dict[str, object]]:
    for row in rows(answer):
        user = member(row, listing)
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


OWNER_ONLY = frozenset({
    *("business_plus", "collaborators", "disk_usage", "ldap_dn", "notification_email", "owned_private_repos"),
    *("plan", "private_gists", "total_private_repos", "two_factor_authentication"),
})
"""What GitHub's schema of a user has for the owner of the token alone (docs: "Get the authenticated user")."""


class Users(GithubStream):
    """One record a user."""

    dataset = "github_users"
    owner_only = OWNER_ONLY
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

    def plan(self, request: Request) -> PlanFlow:
        """Plan a call a user, as the pages arrive; a page of GraphQL brings its users with it."""
        choice = Choice.of(request.params)
        repositories = yield from located(choice)
        told: set[int] = set()

        def plan(query: Query, answer: Answer | None) -> PlanFlow:
            if answer is None:
                return  # a gap of the members
            if query.body:
                told.update(_told(answer.parsed))
                yield from _page(query, answer)
                return
            users = []
            for row in rows(answer.parsed):
                try:
                    if (user := member(row, _listing(query))) and user["id"] not in told:
                        users.append(Query.of(f"/user/{user['id']}"))
                except Unreadable as error:
                    yield error
            yield Planned(users)

        # Lists that bring details come first: whom they tell of need not be asked for.
        for listing in sorted(choice.lists, key=lambda listing: not (choice.graphql and listing == STARGAZERS)):
            for repository in repositories:
                yield from walked(repository, listing, plan, graphql=choice.graphql)

    def estimate(self, request: Request) -> Flow[Sequence[Estimate]]:
        """Say what both ways take, by GitHub's own counts: a call a repository."""
        choice = Choice.of(request.params)
        repositories = yield from located(choice)
        return ways(repositories, choice)

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


def _told(parsed: object) -> set[int]:
    """Return who a page tells of; nobody where one cannot be read, which the landing tells."""
    try:
        return {node["databaseId"] for _, node in starred(parsed)}
    except Unreadable:
        return set()


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
        for _, node in starred(parsed)
    ]
