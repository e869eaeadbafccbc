"""Posts of X, API v2: the lines of a filtered stream, and the pages of the recent search that fill its gaps.

Each post is one record; so is the notice that a post was deleted. Records are sent through Pub/Sub as flat JSON objects
with the column names, so a BigQuery subscription with "use table schema" can write them without this code.

The API is renaming its fields (specification 2.167, August 2026): `tweet.*` becomes `post.*`. Both vocabularies are
read, and give the same record. Each endpoint is called with the words that the specification declares for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from windrow.model.answer import Answer
from windrow.model.contract import Column, Contract, Kind
from windrow.model.errors import BadParameter, Unreadable
from windrow.model.plausible import Plausible
from windrow.model.policy import HTTP_POLICY, Action, ErrorDetail, on
from windrow.model.query import Query
from windrow.model.response import Response, retry_after_s
from windrow.model.stream import PlanFlow, Planned, Request, Stream

STREAM_PATH, RULES_PATH = "/2/tweets/search/stream", "/2/tweets/search/stream/rules"
SEARCH_PATH = "/2/tweets/search/recent"
STREAM_WORDS = {
    "tweet.fields": "author_id,created_at,edit_history_tweet_ids,entities,lang,note_tweet,public_metrics,"
    "referenced_tweets,withheld"
}
"""Parameters of the stream, which still declares the old vocabulary. Without the note, long posts are cut."""
_NEW_WORDS = {"post.fields": "created_at,entities,lang,note_post,public_metrics,withheld"}
SEARCH_WORDS: Sequence[Mapping[str, str]] = (
    _NEW_WORDS,
    STREAM_WORDS,
    _NEW_WORDS | {"expansions": "author_id,edit_history_post_ids,referenced_posts"},
)
"""Parameters of the search, in order of preference: the next one is used if X refuses one, or omits the authors.

The search declares the new vocabulary, in which the author, the versions and the references of a post are expansions,
not fields. Expansions come last, because X charges for what it returns for them.
"""
USERNAMES = {"expansions": "author_id", "user.fields": "username"}
"""Parameters for the names of accounts. X charges for every user that it returns."""
SEARCH_DAYS = 7
SEARCH_SLACK = timedelta(hours=1)
"""Margin at the oldest end of the search: reading all pages takes time, and the end moves meanwhile."""
LONGEST_QUERY = 512
SEARCH_LAG_S = 30.0
"""How far the search is behind the stream."""
RULES_LAG_S = 20.0
"""Maximum time until a new rule is active in the stream."""

_EPOCH_MS = 1_288_834_974_657
_KNOWN = {
    *("id", "text", "author_id", "created_at", "lang", "entities", "note_post", "withheld"),
    *("edit_history_post_ids", "referenced_posts"),
}
_LONGEST_ID = 19
_DEEPEST = 20
"""Deeper than this, fields keep the names that X gave them."""
_CAPPED = "usage-capped"


def post_id_at(moment: datetime) -> int:
    """Return the smallest id of a post created at this time."""
    return max(0, int(moment.timestamp() * 1000) - _EPOCH_MS) << 22


def made_at(post_id: str) -> datetime:
    """Return when a post was created. The id has milliseconds; the field of the API only has seconds, or is missing.

    :raises Unreadable: this is not an id.
    """
    if not (_is_number(post_id) and 0 < int(post_id) < 2**63):
        raise Unreadable(f"{post_id!r:.40} is not the id of a post")
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=(int(post_id) >> 22) + _EPOCH_MS)


def _is_number(text: str) -> bool:
    return len(text) <= _LONGEST_ID and text.isascii() and text.isdecimal()


def error_detail(response: Response) -> ErrorDetail:
    """Read the error details of an answer: its type, and when the rate limit window ends.

    A used-up cap has the same status 429 as too many calls, but waiting for the end of the window does not help.
    """
    told = response.body[:4096].decode("utf-8", "replace")
    if _CAPPED in told:
        return ErrorDetail("cap")
    reset = response.headers.get("x-rate-limit-reset", "")
    remaining = response.headers.get("x-rate-limit-remaining", "")
    left_s = retry_after_s(reset) if reset else None
    if response.status == 429 and remaining == "0" and left_s is not None:
        return ErrorDetail("window", max(1.0, left_s))
    return ErrorDetail(wait_s=response.retry_after_s)


POLICY = HTTP_POLICY.preceded_by(
    on(401, Action.REFUSE, "the app's token does not expire, so it was revoked"),
    on(402, Action.REFUSE, "the account has no credits"),
    on(409, Action.REFUSE, "the stream has no rules"),
    on(429, Action.REFUSE, "the cap of the billing cycle is used up", reason="cap"),
    error_detail=error_detail,
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the stream: a record, or an error message before the stream ends. A heartbeat has neither."""

    record: Mapping[str, Any] | None = None
    trouble: str = ""
    refused: bool = False
    """Whether the error is about the connection itself, like too many connections: X asks for a longer pause then."""


class Posts(Stream):
    """One record for each post or deletion."""

    dataset = "x_posts"
    policy = POLICY
    person = {"author_id": ("author_id", "id"), "username": ("username",)}  # noqa: RUF012 - as declared
    plausible = Plausible(rows=0, nulls=0.5)  # a batch is of any size, and deletions have hardly any values
    ignored = frozenset({"public_metrics", "entities", "note_post", "withheld"})
    """Requested fields whose other contents are kept in ``_extra``. Any other field is a warning."""
    contract = Contract((
        Column("post_id", "id", Kind.STRING, "Id of the post; each edit is a new post.", required=True),
        Column("created_at", "created_at", Kind.TIMESTAMP, "When it was created, from the id.", required=True),
        Column("text", "text", Kind.STRING, "The whole text; null if the post is deleted or only a notice is known."),
        Column("author_id", "author_id", Kind.STRING, "Id of the account."),
        Column("username", "username", Kind.STRING, "Name of the account, if it was requested."),
        Column("lang", "lang", Kind.STRING, "Language detected by X: a BCP 47 tag; und if unknown."),
        Column("hashtags", "hashtags", Kind.STRING, "Hashtags in lower case without #, separated by a space."),
        Column("repost_of", "repost_of", Kind.STRING, "Id of the post that this one reposts."),
        Column("quote_of", "quote_of", Kind.STRING, "Id of the post that this one quotes."),
        Column("reply_to", "reply_to", Kind.STRING, "Id of the post that this one replies to."),
        Column("edit_of", "edit_of", Kind.STRING, "Id of the version that this one replaces."),
        Column("first_version", "first_version", Kind.STRING, "Id of the first version, if this is a later one."),
        Column("rules", "rules", Kind.STRING, "Tags of the rules that it matched, separated by a space."),
        Column("withheld_in", "withheld_in", Kind.STRING, "Countries where X withholds it, separated by a space."),
        Column("deleted_at", "deleted_at", Kind.TIMESTAMP, "When the notice of the deletion arrived."),
    ))

    def plan(self, request: Request) -> PlanFlow:
        """Plan a recent search for the param ``query``, starting at the watermark (an id)."""
        query = request.params.get("query")
        if not isinstance(query, str) or not 0 < len(query) <= LONGEST_QUERY:
            raise BadParameter(
                f"The param 'query' must be a string of 1 to {LONGEST_QUERY} characters, not {query!r:.60}.",
                advice="Use the query syntax of the X search, like tesla -is:retweet.",
            )
        since = int(request.watermark or 0)
        yield Planned((search(query, since, request.at - timedelta(seconds=SEARCH_LAG_S), now=request.at),))

    def next_page(self, query: Query, answer: Answer) -> Query | None:
        """Follow the token of the next page."""
        token = _meta(answer.parsed).get("next_token")
        if token is None:
            return None
        return Query.of(query.path, dict(query.params) | {"next_token": str(token)})

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Read the posts of a page, or of an array of pages."""
        pages = answer if isinstance(answer, list) else [answer]
        return [self.record(post, page) for page in pages for post in self.listed(page)]

    def listed(self, page: object) -> Sequence[object]:
        """Return the raw posts of a page.

        :raises Unreadable: this is not a page.
        """
        _meta(page)
        posts = _mapping(page).get("data", [])
        if not isinstance(posts, list):
            raise Unreadable("'data' must be a list of posts")
        return posts

    def record(self, post: object, page: object, rules: Iterable[str] = ()) -> dict[str, object]:
        """Read a post of a page, or of a line.

        :param rules: the tags of the rules that it matched.
        :raises Unreadable: this is not a post.
        """
        return self.contract.record(_flat(post, _mapping(page)) | {"rules": words_of(rules)})

    def vet(self, record: Mapping[str, object]) -> None:
        """Check a record: audit.sql of x.posts must pass, and merge.sql must find the post by its time."""
        if record["text"] is None and record["deleted_at"] is None and record["withheld_in"] is None:
            raise Unreadable("the post has no text, but is neither deleted nor withheld")
        made, told = record["created_at"], record["_fetched_at"]
        assert isinstance(made, datetime)  # noqa: S101 - the contract says so, of both
        assert isinstance(told, datetime)  # noqa: S101
        if made != made_at(str(record["post_id"])):
            raise Unreadable(f"created_at {made.isoformat()} does not match the time in the id {record['post_id']}")
        if made >= told + timedelta(hours=1):
            raise Unreadable(
                f"created_at {made:%Y-%m-%d %H:%M} UTC is in the future; the answer came at {told:%Y-%m-%d %H:%M} UTC"
            )

    def line(self, line: bytes, now: datetime) -> Line:
        """Read one line of the stream, without its line end.

        :raises Unreadable: it is neither a post nor a notice.
        """
        if not line.strip():
            return Line()
        try:
            said = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise Unreadable(f"invalid JSON: {error}") from None
        if not isinstance(said, Mapping):
            raise Unreadable("a line must be a JSON object")
        data = said.get("data")
        if (notice := _notice(said) or _notice(data)) is not None:
            return Line(self.contract.record(_of_notice(*notice, now)))
        if isinstance(data, Mapping):  # it may have `errors` beside it: of what it refers to
            return Line(self.record(data, said, map(_tag, _mappings(said.get("matching_rules")))))
        if isinstance(errors := said.get("errors"), list):
            return _trouble(errors)
        if isinstance(said.get("title"), str) or "disconnect" in said:
            return _trouble([said.get("disconnect", said)])
        raise Unreadable(f"a line must have 'data', 'errors', 'title' or a notice, but has {sorted(said)}")


def search(
    query: str,
    since_id: int,
    until: datetime,
    *,
    now: datetime,
    usernames: bool = False,
    words: Mapping[str, str] = SEARCH_WORDS[0],
) -> Query:
    """Make the query for the first page of the recent search: after an id, and before a time.

    An id that is too old for the search is replaced by the oldest possible one.

    :param words: one of `SEARCH_WORDS`.
    """
    oldest = post_id_at(now - timedelta(days=SEARCH_DAYS) + SEARCH_SLACK)
    params = {
        "query": query,
        "since_id": str(max(since_id, oldest)),
        "end_time": until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "max_results": "100",
    }
    return Query.of(SEARCH_PATH, params | _asked(words, usernames=usernames))


def stream(*, usernames: bool = False) -> Query:
    """Make the query that opens the stream."""
    return Query.of(STREAM_PATH, _asked(STREAM_WORDS, usernames=usernames))


def _asked(words: Mapping[str, str], *, usernames: bool) -> dict[str, str]:
    # words with expansions have the authors among them
    return {**USERNAMES, **words} if usernames else dict(words)


def words_of(tags: Iterable[str]) -> str | None:
    """Write tags of rules as one text: each once, sorted, separated by a space, with no space in any."""
    return " ".join(sorted({"_".join(tag.split()) for tag in tags} - {""})) or None


# --- reading ---------------------------------------------------------------------------------------


def _meta(page: object) -> Mapping[str, Any]:
    meta = page.get("meta") if isinstance(page, Mapping) else None
    if not isinstance(meta, Mapping):
        raise Unreadable('a page must look like {"data": [...], "meta": {...}}')
    return meta


def _flat(told: object, body: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten a post: the fields of the contract, and all others with their new names."""
    if not isinstance(told, Mapping):
        raise Unreadable("a post must be a JSON object")
    post = _renamed(told)
    if not isinstance(post.get("text"), str):
        raise Unreadable("field 'text' is missing" if "text" not in post else "field 'text' must be a string")
    post_id = _id(post)
    note, withheld = _mapping(post.get("note_post")), _mapping(post.get("withheld"))
    # the entities of a note are of its whole text, those of the post of its beginning
    entities = _mapping(note.get("entities")) or _mapping(post.get("entities"))
    referred = {str(one.get("type")): str(one.get("id")) for one in _mappings(post.get("referenced_posts"))}
    earlier = _earlier(post_id, post.get("edit_history_post_ids"))
    users = {
        str(user.get("id")): user.get("username") for user in _mappings(_mapping(body.get("includes")).get("users"))
    }
    hashtags = [tag for one in _mappings(entities.get("hashtags")) if isinstance(tag := one.get("tag"), str)]
    others = {
        "entities": {name: value for name, value in entities.items() if name != "hashtags"},
        "note_post": {name: value for name, value in note.items() if name not in {"text", "entities"}},
        "withheld": {name: value for name, value in withheld.items() if name != "country_codes"},
    }
    if others["withheld"].get("scope") == "tweet":
        others["withheld"]["scope"] = "post"
    return {
        **{name: value for name, value in post.items() if name not in _KNOWN},
        **{name: value for name, value in others.items() if value},
        "id": post_id,
        "text": text if isinstance(text := note.get("text"), str) else post["text"],
        "created_at": made_at(post_id).isoformat(),
        "author_id": post.get("author_id"),
        "username": users.get(str(post.get("author_id"))),
        "lang": post.get("lang"),
        "hashtags": " ".join(dict.fromkeys(tag.lower() for tag in hashtags)) or None,
        "repost_of": referred.get("retweeted", referred.get("reposted")),
        "quote_of": referred.get("quoted"),
        "reply_to": referred.get("replied_to"),
        "edit_of": earlier[-1] if earlier else None,
        "first_version": earlier[0] if earlier else None,
        "withheld_in": _countries(withheld.get("country_codes")),
    }


def _renamed(fields: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """Give fields their new names, at all depths. If both names are there, the new one counts."""
    renamed: dict[str, Any] = {}
    for name in sorted(fields, key=lambda name: "tweet" not in name):
        value = fields[name]
        if depth < _DEEPEST:
            if isinstance(value, Mapping):
                value = _renamed(value, depth + 1)
            elif isinstance(value, list):
                value = [_renamed(one, depth + 1) if isinstance(one, Mapping) else one for one in value]
        renamed[name.replace("retweet", "repost").replace("tweet", "post")] = value
    return renamed


def _earlier(post_id: str, versions: object) -> list[str]:
    """Return the versions before a post, the first one first.

    A version may carry the whole history, later versions included. Ids grow with time.
    """
    ids = {str(one) for one in versions} if isinstance(versions, list) else set()
    return sorted((one for one in ids if _is_number(one) and int(one) < int(post_id)), key=int)


def _countries(codes: object) -> str | None:
    return words_of(code for code in codes if isinstance(code, str)) if isinstance(codes, list) else None


def _tag(rule: Mapping[str, Any]) -> str:
    """Return the tag of a rule that matched; the id of a rule without a tag."""
    return str(rule.get("tag") or rule.get("id") or "")


_NOTICES = {"delete": "delete", "withheld": "withheld", "status_withheld": "withheld"}
"""Kinds of notices that are read, by the field in which they arrive."""


def _notice(said: object) -> tuple[str, Mapping[str, Any]] | None:
    """Find a notice about a post, in a line or in its `data`. A post may have a field `withheld`, too."""
    fields = _mapping(said)
    if "id" in fields:
        return None
    return next(((kind, _mapping(fields[name])) for name, kind in _NOTICES.items() if name in fields), None)


def _of_notice(kind: str, notice: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Read a notice: the compliance endpoints have `post` or `tweet` in it, the old stream has `status`."""
    post_id = _id(next((notice[name] for name in ("post", "tweet", "status") if name in notice), None))
    about = {"id": post_id, "created_at": made_at(post_id).isoformat()}
    if kind == "delete":
        return about | {"deleted_at": now.isoformat()}
    countries = _countries(notice.get("withheld_in_countries"))
    if countries is None:
        raise Unreadable("a notice of withholding must have 'withheld_in_countries'")
    return about | {"withheld_in": countries}


def _id(post: object) -> str:
    found = _mapping(post).get("id_str", _mapping(post).get("id"))
    if not isinstance(found, str | int) or isinstance(found, bool):
        raise Unreadable("field 'id' is missing")
    return str(found)


def _trouble(errors: Sequence[object]) -> Line:
    """Summarize the errors of a line."""
    found = _mappings(errors)
    words = []
    for error in found:
        kind = error.get("disconnect_type") or error.get("connection_issue") or error.get("title")
        detail = error.get("detail") or error.get("message") or error.get("reason") or ""
        words.append(f"{kind or 'error'}: {str(detail)[:200]}".rstrip(": "))
    refused = any("connection_issue" in error for error in found)
    return Line(trouble="; ".join(words) or "errors without details", refused=refused)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
