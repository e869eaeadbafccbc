"""Accounts that never were: seeded, made-up users who fill in their profiles as people do."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

API = "https://api.github.com"
SITE = "https://github.com"

COMPANIES = {
    "acme": ("@acme", "ACME", " ACME Inc. ", "Acme, Inc.", "acme inc", "@acme ", "Acme"),
    "umbrella": ("@umbrella-labs", "Umbrella Labs", "UMBRELLA LABS LTD", "Umbrella Labs Ltd.", "umbrella labs"),
    "globex": ("Globex GmbH", "globex", "@globex", "Globex"),
    "initech": ("Initech LLC", "@initech @initech-research", "initech"),
    "none": (None, None, "", "  ", "🚀", "Freelance", "student @ nowhere", "self-employed 🏡", "N/A"),
}
"""A company, and the ways in which its people write it."""

PLACES = {
    "berlin": ("Berlin", "Berlin, Germany", "berlin", "Berlin 🇩🇪", " Berlin,Germany "),
    "munich": ("München", "Munich", "München, Deutschland"),
    "lisbon": ("Lisbon, Portugal", "Lisboa", "LISBON"),
    "san francisco": ("San Francisco, CA", "San Francisco", "san francisco bay area", "SF"),
    "tokyo": ("東京", "Tokyo, Japan", "Tokyo"),
    "none": (None, None, None, "", "🌍", "Earth", "127.0.0.1", "remote", "somewhere over the rainbow 🌈"),
}
"""A place, and the ways in which people write it."""

FIRST = "Ada Ben Cyd Dee Eve Fay Gus Hal Ida Jon Kim Léa Max Nía Óli Pia Quy Rae Søren Tam Uwe Vera Wen Xiu Yui Zoë"
LAST = "Ångström Brook Castro Dvořák Engel Fujita Grün Haddad Ivanov Jiménez Kumar Li Müller Nguyen O'Neil Park Roe"
HANDLES = "bit byte cat dot elm fox gnu hex ink jet koi lab mux nix orb pix qed ram sky tux urn vim wok xor yak zip"
ODD_LOGINS = ("null", "undefined", "404", "-legacy-", "x", "ends-", "a" * 39, "emu-user_acme", "0xdeadbeef", "settings")
"""Logins that trip careless code; some could not be taken any more, but are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An account. `former_login` is what lists still call it; `deleted` ones are in lists only."""

    id: int
    login: str
    kind: str
    name: str | None
    company: str | None
    blog: str
    location: str | None
    email: str | None
    hireable: bool | None
    bio: str | None
    twitter_username: str | None
    public_repos: int
    public_gists: int
    followers: int
    following: int
    created_at: datetime
    updated_at: datetime
    former_login: str | None = None
    deleted: bool = False

    @property
    def listed_login(self) -> str:
        """The login that lists show: they are cached, and lag behind a rename."""
        return self.former_login or self.login

    def row(self) -> dict[str, Any]:
        """Give the account as it is shown inside of lists."""
        return account(self.id, self.listed_login, self.kind)

    def detail(self) -> dict[str, Any]:
        """Give the account as `/user/{id}` does."""
        return account(self.id, self.login, self.kind) | {
            "name": self.name,
            "company": self.company,
            "blog": self.blog,
            "location": self.location,
            "email": self.email,
            "hireable": self.hireable,
            "bio": self.bio,
            "twitter_username": self.twitter_username,
            "public_repos": self.public_repos,
            "public_gists": self.public_gists,
            "followers": self.followers,
            "following": self.following,
            "created_at": instant(self.created_at),
            "updated_at": instant(self.updated_at),
        }


def instant(moment: datetime) -> str:
    """Write an instant as GitHub does: `2020-01-31T12:00:00Z`."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


_ACCOUNT_URLS = {
    "followers": "/followers",
    "following": "/following{/other_user}",
    "gists": "/gists{/gist_id}",
    "starred": "/starred{/owner}{/repo}",
    "subscriptions": "/subscriptions",
    "organizations": "/orgs",
    "repos": "/repos",
    "events": "/events{/privacy}",
    "received_events": "/received_events",
}


def account(account_id: int, login: str, kind: str) -> dict[str, Any]:
    """Return an account as it is shown inside of other answers: all fields that the specification requires."""
    url = f"{API}/users/{login}"
    return {
        "login": login,
        "id": account_id,
        "node_id": f"U_{account_id:010x}",
        "avatar_url": f"https://avatars.githubusercontent.com/u/{account_id}?v=4",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{SITE}/{login}",
        **{f"{name}_url": url + end for name, end in _ACCOUNT_URLS.items()},
        "type": kind,
        "user_view_type": "public",
        "site_admin": False,
    }


def make_users(random: Random, count: int) -> list[User]:
    """Make `count` users: odd logins and a bot first, then the others; a few renamed since, a few deleted."""
    return list(_users(random, count))


def _users(random: Random, count: int) -> Iterator[User]:
    taken: set[str] = set()
    user_id = 1_000
    for number in range(count):
        user_id += random.randint(1, 90_000)
        first, last = random.choice(FIRST.split()), random.choice(LAST.split())
        login = _login(random, number, taken)
        created = datetime(2009, 1, 1, tzinfo=UTC) + timedelta(seconds=random.randint(0, 15 * 365 * 86_400))
        odd = number <= len(ODD_LOGINS)
        renamed = not odd and random.random() < 0.02
        deleted = not odd and not renamed and random.random() < 0.01
        yield User(
            id=user_id,
            login=login,
            kind="Bot" if login.endswith("[bot]") else "User",
            name=random.choice((f"{first} {last}", f"{first} {last}", first, None, f"{first} 🦊", "")),
            company=_written(random, COMPANIES, (30, 14, 9, 6, 41)),
            blog=random.choice(("", "", f"https://{login.strip('-')}.example.com/?a=1&b=ü", "example.com")),
            location=_written(random, PLACES, (16, 8, 9, 14, 9, 44)),
            email=f"{number}@example.com" if random.random() < 0.3 else None,
            hireable=random.choice((None, None, True)),
            bio=random.choice((None, "I make things.\r\nAnd break them.", "日本語 · ελληνικά", 'Says "hi"')),
            twitter_username=random.choice((None, None, login.strip("-")[:15])),
            public_repos=int(random.expovariate(1 / 25)),
            public_gists=int(random.expovariate(1 / 4)),
            followers=int(random.paretovariate(0.9)) - 1,
            following=int(random.expovariate(1 / 15)),
            created_at=created,
            updated_at=created + timedelta(seconds=random.randint(0, 365 * 86_400)),
            former_login=f"was-{login}" if renamed else None,
            deleted=deleted,
        )


def _login(random: Random, number: int, taken: set[str]) -> str:
    if number < len(ODD_LOGINS):
        login = ODD_LOGINS[number]
    elif number == len(ODD_LOGINS):
        login = "dependabot[bot]"
    else:
        login = "-".join(random.sample(HANDLES.split(), 2))
        while login in taken:
            login += str(random.randint(0, 9))
    taken.add(login)
    return login


def _written(random: Random, forms: dict[str, tuple[Any, ...]], weights: tuple[int, ...]) -> Any:
    """Draw one of the things that `forms` holds, as somebody writes it."""
    (thing,) = random.choices(list(forms), weights)
    return random.choice(forms[thing])
