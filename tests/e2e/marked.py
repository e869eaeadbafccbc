"""Secrets that nothing else looks like, in every spelling, and APIs that fail and tell all that they were sent."""

import base64
import html
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote_plus

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.scripted_api import Asked, Reply, ScriptedApi
from windrow.sources.x.streams import RULES_PATH, STREAM_PATH, post_id_at

WAYS = ("malformed", "refused", "401", "403", "echo", "unreachable")
"""How an API fails: the first part of the paths in the connection to it. `refused` is the token endpoint, and `echo` a
good answer. All but the last tell the credentials that came with the call, in every spelling; the last is no server."""
NOWHERE = "127.0.0.1:1"


def marked(name: str, *, in_form: bool = False) -> str:
    """Make a secret with signs that each spelling writes in its own way. A header takes no space, and only ASCII."""
    odd = ' +/<&"%é' if in_form else '+/<&"%='
    return f"1//{name}{odd}9qW7-Kd3zX5vB1n-{odd}J8hT~{name[::-1]}//1"


def _private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem.decode()


PRIVATE_KEY = _private_key()
PASSWORDS = {api: marked(f"{api}Pass", in_form=True) for api in ("titanic", "spotify", "youtube", "airflow")}
REFRESH_TOKEN = marked("youtubeRefresh")
TOKENS = {api: marked(f"{api}Token") for api in ("titanic", "spotify", "youtube", "github", "x", "airflow")}
"""What the token endpoints answer with; that of X is in the environment of the publisher."""
STATIC = marked("githubStatic")
AWS_SECRET = marked("aws", in_form=True)
WEBHOOK = marked("webhook", in_form=True)
"""A part of the address of the webhook of alerts, as chat services have it."""
PLANTED = marked("planted", in_form=True)
"""What is put where the others must not be, so that it is seen to be found there."""
SECRETS: Mapping[str, str] = {
    **{f"{api}, client secret": secret for api, secret in PASSWORDS.items()},
    **{f"{api}, access token": secret for api, secret in TOKENS.items()},
    **{f"private key, line {number}": line for number, line in enumerate(PRIVATE_KEY.splitlines()[2:-1], 2)},
    "refresh token": REFRESH_TOKEN,
    "static token": STATIC,
    "secret key of AWS": AWS_SECRET,
    "address of the webhook": WEBHOOK,
    "planted": PLANTED,
}


def spellings(secret: str) -> dict[str, str]:
    """Write a secret in every way, its two ends and its middle among them."""
    octets = secret.encode()
    return {
        "raw": secret,
        "JSON": json.dumps(secret)[1:-1],
        "JSON, UTF-8": json.dumps(secret, ensure_ascii=False)[1:-1],
        r"JSON, \/": json.dumps(secret)[1:-1].replace("/", "\\/"),
        "JSON, all escaped": "".join(f"\\u{ord(sign):04x}" for sign in secret),
        "JSON, all escaped, capitals": "".join(f"\\u{ord(sign):04X}" for sign in secret),
        "JSON in JSON": json.dumps(json.dumps(secret))[3:-3],
        "percent, capitals": quote(secret, safe=""),
        "percent, small": re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quote(secret, safe="")),
        "percent, all": "".join(f"%{octet:02X}" for octet in octets),
        "form": quote_plus(secret),
        "HTML": html.escape(secret),
        "HTML, all": "".join(f"&#{ord(sign)};" for sign in secret),
        "HTML, all, hex": "".join(f"&#x{ord(sign):x};" for sign in secret),
        **{f"base64, offset {before}": _inner_base64(octets, before) for before in range(3)},
        "first 12": secret[:12],
        "last 12": secret[-12:],
        "middle 12": secret[len(secret) // 2 - 6 :][:12],
    }


def _inner_base64(octets: bytes, before: int) -> str:
    """Return the signs that tell nothing but of the secret, when so many bytes come before it."""
    code = base64.b64encode(b"\0" * before + octets).decode()
    return code[-(-before * 8 // 6) : (before + len(octets)) * 8 // 6]


def brought(asked: Asked) -> list[str]:
    """Return the credentials that came with a call."""
    kind, _, word = (asked.signature or "").partition(" ")
    basic = base64.b64decode(word).decode().split(":") if kind == "Basic" else []
    form = [value for name, value in parse_qsl(asked.body) if name in {"client_secret", "refresh_token"}]
    user = json.loads(asked.body)["password"] if asked.path.endswith("/auth/token") else ""
    address = WEBHOOK if asked.raw.endswith(quote(WEBHOOK, safe="")) else ""
    return [secret for secret in (word, *map(unquote_plus, basic[1:]), *form, user, address) if secret]


def told(asked: Asked) -> dict[str, Any]:
    """Tell all that came with a call: as it came, and its credentials in every spelling."""
    spelled = [text for secret in brought(asked) for name, text in spellings(secret).items() if name != "middle 12"]
    return {"spelled": spelled, "headers": dict(asked.headers), "form": asked.body}


@dataclass
class Hostile:
    """One API that fails in the way that the path of a call begins with."""

    name: str
    server: ScriptedApi
    calls: Counter[str] = field(default_factory=Counter)
    """By way."""

    def __post_init__(self) -> None:
        self.server.script = self.answer

    def at(self, way: str) -> str:
        """Return the URL at which it fails in a way."""
        return f"http://{NOWHERE}" if way == "unreachable" else f"{self.server.url}/{way}"

    def answer(self, asked: Asked) -> Reply:
        way, _, path = asked.path.removeprefix("/").partition("/")
        self.calls[way] += 1
        reply = self._answer(way, replace(asked, path=f"/{path}"))
        return Reply(reply.body, reply.status, {**self._headers(asked), **reply.headers})

    def _headers(self, asked: Asked) -> Mapping[str, str]:
        """Tell the credential in headers that a client reads, too."""
        word = (asked.signature or "").rpartition(" ")[2]
        link = f'<{self.server.url}{asked.path}?page=2&access_token={quote(word)}>; rel="next"'
        return {"ETag": f'W/"{word}"', "Link": link, "Retry-After": word} if word else {}

    def _answer(self, way: str, asked: Asked) -> Reply:
        echo = told(asked)
        if asked.path.endswith(("/token", "/access_tokens")):
            if way == "refused":
                return Reply({"error": "invalid_request", **echo}, 401 if self.name == "github" else 400)
            ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
            token = {"access_token": TOKENS[self.name], "token": TOKENS[self.name], "expires_at": ends}
            return Reply(token, 201 if self.name == "github" else 200)
        if way in {"refused", "401", "403"}:
            return Reply({"message": "you are not meant", **echo}, 403 if way == "403" else 401)
        if way == "malformed":
            return Reply(f"<html>{json.dumps(echo, ensure_ascii=False)}")
        return GOOD[self.name](asked, echo)


def _titanic(asked: Asked, echo: Mapping[str, Any]) -> Reply:
    """Answer well, but for a field that the audit does not let into the final table."""
    passenger: dict[str, Any] = dict.fromkeys(("Age", "Fare", "Embarked"))
    passenger |= {"PassengerId": 1, "Survived": 7, "Pclass": 1, "Sex": "male", "SibSp": 0, "Parch": 0}
    name, token = dict(asked.params)["name"], TOKENS["titanic"]
    return Reply(passenger | {"Name": name, "Ticket": token, "Cabin": " ".join(echo["spelled"]), "echo": echo})


def _github(asked: Asked, echo: Mapping[str, Any]) -> Reply:
    """Answer with a repository, a page of stargazers, and a user, and refuse the page after it."""
    if asked.path.startswith("/user/"):
        user = {"id": 7, "login": "wind", "type": "User", "company": asked.signature, "echo": echo}
        return Reply(user | {"created_at": "2020-01-01T00:00:00Z", "updated_at": "2020-01-01T00:00:00Z"})
    if asked.path.endswith("/rate_limit"):
        return Reply({"resources": {}, "echo": echo})
    if not asked.path.endswith("/stargazers"):
        return Reply({"id": 1, "full_name": "wind/row", "stargazers_count": 1, "forks_count": 0, "echo": echo})
    if "page" in dict(asked.params) and dict(asked.params)["page"] == "2":
        return Reply({"message": "you are not meant", **echo}, 400)
    return Reply([{"starred_at": "2020-01-01T00:00:00Z", "user": {"id": 7, "login": "wind"}, "echo": echo}])


def _spotify(asked: Asked, echo: Mapping[str, Any]) -> Reply:
    """Know one artist, by the name of the token."""
    artist = {"id": "0" * 22, "name": TOKENS["spotify"], "type": "artist", "genres": echo["spelled"]}
    return Reply({"artists": {"items": [artist], "total": 1}, "echo": echo})


def _youtube(asked: Asked, echo: Mapping[str, Any]) -> Reply:
    """Answer with a channel and a page of its uploads, and refuse the page that the token names."""
    if asked.path.endswith("/channels"):
        item: dict[str, Any] = {"contentDetails": {"relatedPlaylists": {"uploads": "UU"}}}
    elif "pageToken" in dict(asked.params):
        return Reply({"error": {"message": "you are not meant", **echo}}, 400)
    else:
        item = {"contentDetails": {"videoId": "wind"}}
    return Reply({"items": [item], "nextPageToken": TOKENS["youtube"], "echo": echo})


def _airflow(asked: Asked, echo: Mapping[str, Any]) -> Reply:
    """Answer with a snapshot of the harvests, in which something is wrong that tells the token."""
    reason = dict.fromkeys(("run_id", "reason", "oldest", "newest"), "wind") | {"status": 200, "count": 1}
    return Reply({"at": datetime.now(UTC).isoformat(), "reasons": [reason | {"dataset": " ".join(echo["spelled"])}]})


def _alerts(asked: Asked, echo: Mapping[str, Any]) -> Reply:
    """Take the message of a webhook."""
    return Reply(echo)


def _x(asked: Asked, echo: Mapping[str, Any]) -> Reply:
    """Accept the rules, and tell a post, and what is none, on the stream."""
    if asked.path == RULES_PATH:
        return Reply({"data": [{"id": "1", "value": "tesla", "tag": "x-posts"}], "echo": echo})
    if asked.path != STREAM_PATH:
        return Reply({"meta": {"result_count": 0}})
    post = {"id": str(post_id_at(datetime.now(UTC))), "text": " ".join(echo["spelled"]), "author_id": TOKENS["x"]}
    time.sleep(0.2)  # the stream ends at once, and is opened again
    return Reply(f"{json.dumps({'data': post})}\r\n<html>{json.dumps(echo)}\r\n")


GOOD: Mapping[str, Callable[[Asked, Mapping[str, Any]], Reply]] = {
    "titanic": _titanic,
    "github": _github,
    "spotify": _spotify,
    "youtube": _youtube,
    "x": _x,
    "airflow": _airflow,
    "alerts": _alerts,
}


def connections(urls: Mapping[str, str]) -> dict[str, str]:
    """Return Airflow connections to APIs at these addresses, as environment variables."""
    patience = {"patience_s": 1, "timeout_s": 5, "connections": 2}

    def api(name: str, **extra: Any) -> dict[str, Any]:
        login = {"login": "marked", "password": PASSWORDS[name]} if name in PASSWORDS else {}
        return {"conn_type": "http", "host": urls[name], **login, "extra": patience | extra}

    youtube = api("youtube", token_path="/token", refresh_token=REFRESH_TOKEN)
    app = {"app_id": "1", "private_key": PRIVATE_KEY, "installation_id": 1}
    made = {
        "TITANIC": api("titanic", token_path="/oauth/token"),
        "SPOTIFY": api("spotify", token_path="/api/token", token_auth="basic"),
        "YOUTUBE": youtube,
        "YOUTUBE_ANALYTICS": youtube,
        "GITHUB": api("github", tokens=[{"token": STATIC, "owner": "wind"}], apps=[app]),
        "WINDROW_AIRFLOW": {
            "conn_type": "http",
            "host": urls["airflow"],
            "login": "marked",
            "password": PASSWORDS["airflow"],
        },
        "WINDROW_ALERTS": {"conn_type": "http", "host": f"{urls['alerts']}/{quote(WEBHOOK, safe='')}"},
        "AWS_DEFAULT": {
            "conn_type": "aws",
            "login": "test",
            "password": AWS_SECRET,
            "extra": {"region_name": "us-east-1"},
        },
    }
    return {f"AIRFLOW_CONN_{name}": json.dumps(fields) for name, fields in made.items()}
