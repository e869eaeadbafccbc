"""The repositories of the fake GitHub and who is in their lists: pure data, the same in every process.

A test asks this module what a harvest must bring: `make_world().users(...)`, `.members(...)`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import Any, Literal, TypeAlias

from local_cloud.apis.github.people import API, SITE, User, account, instant, make_users

List: TypeAlias = Literal["contributors", "stargazers", "forks"]
LISTS: tuple[List, ...] = ("contributors", "stargazers", "forks")

USERS = 3_000
SEED = 2008
NOW = datetime(2026, 11, 20, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Contribution:
    """A row of a contributors list. Without a user it is an author whom GitHub knows by name and e-mail only."""

    user: User | None
    commits: int
    name: str = ""
    email: str = ""

    def row(self) -> dict[str, Any]:
        """Give the row as the API does; an anonymous one has neither id nor login."""
        if self.user is None:
            return {"email": self.email, "name": self.name, "type": "Anonymous", "contributions": self.commits}
        return self.user.row() | {"contributions": self.commits}


@dataclass(frozen=True, slots=True)
class Star:
    """A row of a stargazers list. The account of a user who is None was deleted."""

    user: User | None
    starred_at: datetime

    def row(self) -> dict[str, Any]:
        """Return the row as the media type of stars has it."""
        return {"starred_at": instant(self.starred_at), "user": self.user.row() if self.user else None}


@dataclass(frozen=True, slots=True)
class Fork:
    """A row of a forks list."""

    id: int
    user: User
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository with its lists. Stars and forks are in the order in which they were made."""

    id: int
    owner: str
    name: str
    created_at: datetime
    contributors: Sequence[Contribution] = ()
    stargazers: Sequence[Star] = ()
    forks: Sequence[Fork] = ()
    empty: bool = False
    private: bool = False
    too_large: bool = False
    """Its contributors cannot be listed."""

    @property
    def full_name(self) -> str:
        """`owner/name`."""
        return f"{self.owner}/{self.name}"

    @property
    def updated_at(self) -> datetime:
        """When its last star or fork was made."""
        made = [star.starred_at for star in self.stargazers[-1:]] + [fork.created_at for fork in self.forks[-1:]]
        return max(made, default=self.created_at)

    def detail(self) -> dict[str, Any]:
        """Give the repository as `/repos/{owner}/{name}` does."""
        stars, forks = len(self.stargazers), len(self.forks)
        made = repository_json(self.id, self.owner, self.name, self.created_at, self.updated_at)
        return made | {
            **dict.fromkeys(("stargazers_count", "watchers_count", "watchers"), stars),
            **dict.fromkeys(("forks_count", "forks", "network_count"), forks),
            "subscribers_count": stars // 9,
            "size": 0 if self.empty else 4_711,
        }

    def fork_row(self, fork: Fork) -> dict[str, Any]:
        """Give a fork as the list of forks does."""
        login = fork.user.listed_login
        made = repository_json(fork.id, login, self.name, fork.created_at, fork.created_at)
        return made | {"fork": True, "owner": fork.user.row()}

    def member_ids(self, listing: List) -> list[int]:
        """Give the ids of the users in a list, in its order; who has no account has none."""
        rows = {"contributors": self.contributors, "stargazers": self.stargazers, "forks": self.forks}[listing]
        return [row.user.id for row in rows if row.user]


_REPOSITORY_URLS = """
archive /{archive_format}{/ref}      assignees /assignees{/user}       blobs /git/blobs{/sha}
branches /branches{/branch}          collaborators /collaborators{/collaborator}
comments /comments{/number}          commits /commits{/sha}            compare /compare/{base}...{head}
contents /contents/{+path}           contributors /contributors        deployments /deployments
downloads /downloads                 events /events                    forks /forks
git_commits /git/commits{/sha}       git_refs /git/refs{/sha}          git_tags /git/tags{/sha}
hooks /hooks                         issue_comment /issues/comments{/number}
issue_events /issues/events{/number} issues /issues{/number}           keys /keys{/key_id}
labels /labels{/name}                languages /languages              merges /merges
milestones /milestones{/number}      notifications /notifications{?since,all,participating}
pulls /pulls{/number}                releases /releases{/id}           stargazers /stargazers
statuses /statuses/{sha}             subscribers /subscribers          subscription /subscription
tags /tags                           teams /teams                      trees /git/trees{/sha}
"""
"""Names of fields without ``_url``, each followed by the end of its URL."""
_REPOSITORY_FIELDS = {
    **dict.fromkeys(("private", "fork", "archived", "disabled", "has_pages", "has_discussions", "is_template"), False),
    **dict.fromkeys(("has_issues", "has_projects", "has_wiki", "has_downloads", "allow_forking"), True),
    **dict.fromkeys(("stargazers_count", "watchers_count", "watchers", "forks_count", "forks", "size"), 0),
    **dict.fromkeys(("open_issues_count", "open_issues"), 0),
    **dict.fromkeys(("homepage", "mirror_url", "license")),
    "language": "Python",
    "default_branch": "main",
    "visibility": "public",
}


def repository_json(
    repository_id: int, owner: str, name: str, created_at: datetime, updated_at: datetime
) -> dict[str, Any]:
    """Return what all repositories have, forks too: all fields that the specification requires."""
    full_name = f"{owner}/{name}"
    url, ends = f"{API}/repos/{full_name}", _REPOSITORY_URLS.split()
    return {
        "id": repository_id,
        "node_id": f"R_{repository_id:010x}",
        "name": name,
        "full_name": full_name,
        "owner": account(sum(map(ord, owner)), owner, "Organization"),
        "html_url": f"{SITE}/{full_name}",
        "description": f"The {name} of {owner}",
        "url": url,
        **{f"{of}_url": url + end for of, end in zip(ends[::2], ends[1::2], strict=True)},
        "created_at": instant(created_at),
        "updated_at": instant(updated_at),
        "pushed_at": instant(updated_at),
        "git_url": f"git://github.com/{full_name}.git",
        "ssh_url": f"git@github.com:{full_name}.git",
        "clone_url": f"{SITE}/{full_name}.git",
        "svn_url": f"{SITE}/{full_name}",
        **_REPOSITORY_FIELDS,
    }


@dataclass(frozen=True, slots=True)
class World:
    """All that the fake GitHub knows."""

    users: dict[int, User]
    repositories: dict[int, Repository]
    names: dict[str, int]
    """Repository ids by full name in lower case, former names included."""
    current_logins: dict[str, User] = field(default_factory=dict)

    def repository(self, full_name: str) -> Repository:
        """Find a repository by its present or a former name; raises KeyError."""
        return self.repositories[self.names[full_name.lower()]]

    def member_ids(self, full_names: Iterable[str], lists: Iterable[List] = LISTS) -> set[int]:
        """Give the ids of all users in these lists of these repositories."""
        wanted = list(lists)
        return {
            user_id
            for full_name in full_names
            for listing in wanted
            if not (listing == "contributors" and self.repository(full_name).too_large)
            for user_id in self.repository(full_name).member_ids(listing)
        }

    def details(self, user_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
        """Give what `/user/{id}` answers for those of these users that are still there."""
        return {each: self.users[each].detail() for each in user_ids if not self.users[each].deleted}


ORDINARY = (
    ("acme", "windmill", 240, 1_150, 320),
    ("acme", "gristmill", 130, 420, 90),
    ("umbrella-labs", "raincoat", 85, 640, 140),
    ("globex", "sluice", 60, 310, 75),
    ("tiny", "one", 1, 1, 1),
    ("tiny", "exact.hundred", 100, 100, 100),
)
"""Owner, name, and how many contributors, stargazers and forks."""
ANONYMOUS = {"windmill": 35, "gristmill": 4}
"""Authors without an account, by repository."""
FORMER_NAMES = {"acme/old-mill": "acme/windmill", "gone-org/sluice": "globex/sluice"}


@cache
def make_world() -> World:
    """Make the world; it is the same every time."""
    random = Random(SEED)
    users = make_users(random, USERS)
    # a quarter of the people are in most lists: repositories overlap
    regulars, others = users[: USERS // 4], users[USERS // 4 :]
    people = [user for user in regulars if user.kind == "User"]  # bots neither star nor fork
    fork_ids = iter(range(900_000_000, 999_999_999, 137))
    repositories = []
    for place, (owner, name, contributors, stars, forks) in enumerate(ORDINARY):
        members = [_draw(random, regulars, others, contributors)]
        members += [_draw(random, people, others, size) for size in (stars, forks)]
        created = datetime(2016 + place, 3, 1, tzinfo=UTC)
        repositories.append(
            Repository(
                id=70_000_001 + 7_919 * place,
                owner=owner,
                name=name,
                created_at=created,
                contributors=_contributions(random, members[0], ANONYMOUS.get(name, 0)),
                stargazers=[Star(u, at) for u, at in zip(members[1], _rising(random, created, stars), strict=True)],
                forks=[
                    Fork(next(fork_ids), u, at)
                    for u, at in zip(members[2], _rising(random, created, forks), strict=True)
                ],
            )
        )
    created = datetime(2024, 1, 1, tzinfo=UTC)
    giant = _draw(random, people, others, 250)
    repositories += [
        Repository(80_000_001, "acme", "empty", created, empty=True),
        Repository(80_000_002, "acme", "secret", created, private=True),
        Repository(
            80_000_003,
            "acme",
            "monolith",
            created,
            stargazers=[Star(u, at) for u, at in zip(giant, _rising(random, created, 250), strict=True)],
            too_large=True,
        ),
        Repository(
            80_000_004,
            "acme",
            "abandoned",
            created,
            contributors=[Contribution(people[0], 3)],
            stargazers=[
                Star(user, created + timedelta(days=day))
                for user, day in ((people[0], 1), (None, 2), (None, 2), (people[1], 3), (None, 4))
            ],
            forks=[Fork(890_000_001, people[1], created + timedelta(days=5))],
        ),
    ]
    by_name = {each.full_name.lower(): each.id for each in repositories}
    return World(
        users={each.id: each for each in users},
        repositories={each.id: each for each in repositories},
        names=by_name | {former: by_name[present] for former, present in FORMER_NAMES.items()},
        current_logins={each.login.lower(): each for each in users if not each.deleted},
    )


def _draw(random: Random, regulars: Sequence[User], others: Sequence[User], size: int) -> list[User]:
    """Draw members of one list, each once: two thirds of them regulars, as far as there are any."""
    known = min(len(regulars), size * 2 // 3)
    drawn = random.sample(regulars, known) + random.sample(others, size - known)
    random.shuffle(drawn)
    return drawn


def _contributions(random: Random, members: Sequence[User], anonymous: int) -> list[Contribution]:
    """Order contributors as GitHub does, most commits first; the anonymous are among them."""
    rows = [Contribution(user, int(random.paretovariate(0.8))) for user in members]
    rows += [
        Contribution(None, random.randint(1, 9), name=f"Anonymous Ünknown {n}", email=f"nobody{n}@users.example.org")
        for n in range(anonymous)
    ]
    return sorted(rows, key=lambda row: -row.commits)


def _rising(random: Random, since: datetime, count: int) -> list[datetime]:
    """Make instants, rising, more and more frequent towards the present."""
    span = (NOW - since).total_seconds()
    return [
        since + timedelta(seconds=int(share * span)) for share in sorted(random.random() ** 0.6 for _ in range(count))
    ]
