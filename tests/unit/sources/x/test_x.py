"""Reading X: lines of the stream, pages of the search, both vocabularies, and what is wrong with them."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.apis.x import spec
from tests.unit.flow import NOON, lead
from tests.unit.measured import measured
from windrow.model.answer import Answer, Outcome
from windrow.model.errors import BadParameter, Unreadable
from windrow.model.policy import Action
from windrow.model.query import Query
from windrow.model.response import Response
from windrow.model.stream import Request
from windrow.sources.x import streams as x

POSTS = x.Posts()
ID = str(x.post_id_at(NOON) + 5)
LONG = "Meine Tesla-Ladesäule \U0001f697 " + "und noch viel mehr dazu " * 20 + "#EV #Tesla"
OLD = {
    "id": ID,
    "text": f"{LONG[:270]}\u2026 https://t.co/x",
    "author_id": "42",
    "created_at": "2026-11-20T12:00:00.000Z",
    "lang": "de",
    "edit_history_tweet_ids": ["7", ID],
    "referenced_tweets": [{"type": "retweeted", "id": "11"}, {"type": "quoted", "id": "12"}],
    "entities": {"hashtags": [], "urls": [{"url": "https://t.co/x"}]},
    "note_tweet": {
        "text": LONG,
        "entities": {"hashtags": [{"tag": "EV"}, {"tag": "Tesla"}, {"tag": "ev"}], "urls": [{"url": "u"}]},
    },
    "public_metrics": {"retweet_count": 1, "like_count": 3},
    "withheld": {"copyright": False, "country_codes": ["FR", "DE"], "scope": "tweet"},
    "attachments": {"media_source_tweet_id": ["9"]},
}
NEW = {name: value for name, value in OLD.items() if "tweet" not in name} | {
    "edit_history_post_ids": OLD["edit_history_tweet_ids"],
    "referenced_posts": OLD["referenced_tweets"],
    "note_post": OLD["note_tweet"],
    "public_metrics": {"repost_count": 1, "like_count": 3},
    "withheld": {"copyright": False, "country_codes": ["FR", "DE"], "scope": "post"},
    "attachments": {"media_source_post_id": ["9"]},
}


def line(said: object) -> x.Line:
    return POSTS.line(orjson.dumps(said), NOON)


@pytest.mark.parametrize("post", [OLD, NEW], ids=["tweet", "post"])
def test_requested_fields_are_no_warning_and_a_new_one_is(post: dict):
    asked = {name: value for name, value in post.items() if name != "attachments"}
    records = [line({"data": one}).record for one in (asked, post)]
    assert measured(POSTS, records)["unknown_fields"] == [["attachments", 1]]


@pytest.mark.parametrize("post", [OLD, NEW], ids=["tweet", "post"])
def test_a_post_is_read_in_both_vocabularies(post: dict):
    included = {"users": [{"id": "42", "username": "ada"}]}

    rules = [{"id": "1", "tag": "my cars"}, {"id": "2", "tag": ""}, {"id": "3", "tag": "de"}]
    record = line({"data": post, "includes": included, "matching_rules": rules}).record

    assert record == {
        "post_id": ID,
        "created_at": NOON,
        "text": LONG,
        "author_id": "42",
        "username": "ada",
        "lang": "de",
        "hashtags": "ev tesla",
        "repost_of": "11",
        "quote_of": "12",
        "reply_to": None,
        "edit_of": "7",
        "first_version": "7",
        "rules": "2 de my_cars",
        "withheld_in": "DE FR",
        "deleted_at": None,
        "_extra": '{"attachments":{"media_source_post_id":["9"]},"entities":{"urls":[{"url":"u"}]},'
        '"public_metrics":{"like_count":3,"repost_count":1},"withheld":{"copyright":false,"scope":"post"}}',
    }


def test_if_both_vocabularies_are_in_one_post_the_new_one_counts():
    metrics = {"repost_count": 2, "retweet_count": 1}
    both = {"id": ID, "text": "t", "referenced_posts": [{"type": "quoted", "id": "2"}], "public_metrics": metrics}

    record = line({"data": both | {"referenced_tweets": [{"type": "quoted", "id": "1"}]}}).record

    assert (record["quote_of"], record["_extra"]) == ("2", '{"public_metrics":{"repost_count":2}}')


@pytest.mark.parametrize(
    ("own", "replaced", "first"), [(5, None, None), (6, 5, 5), (7, 6, 5)], ids=["first", "second", "last"]
)
def test_versions_that_carry_the_whole_history_name_only_those_before(own: int, replaced: object, first: object):
    base = int(ID) // 10 * 10
    history = [str(base + number) for number in (7, 5, 6)]

    record = line({"data": {"id": str(base + own), "text": "t", "edit_history_post_ids": history}}).record

    wanted = [None if number is None else str(base + number) for number in (replaced, first)]
    assert [record["edit_of"], record["first_version"]] == wanted


def test_all_but_id_and_text_may_be_missing():
    record = line({"data": {"id": ID, "text": "tesla"}}).record

    assert {name for name, value in record.items() if value is not None} == {"post_id", "created_at", "text"}


@pytest.mark.parametrize("text", ["\U0001f697\U0001f44d\U0001f3fd", "x" * 65_536, "", "a\u0000b"])
def test_any_text_is_kept(text: str):
    assert line({"data": {"id": ID, "text": text}}).record["text"] == text


ABOUT = {"id": ID, "author_id": "42"}
STATUS = {"id": int(ID) - 1, "id_str": ID, "user_id_str": "42"}  # the number is rounded


@pytest.mark.parametrize(
    "said",
    [
        {"delete": {"status": STATUS, "timestamp_ms": "1"}},
        {"delete": {"post": ABOUT}},
        {"data": {"delete": {"tweet": ABOUT, "event_at": "2026-11-20T11:00:00Z"}}},
        {"data": {"delete": {"post": ABOUT, "event_at": "2026-11-20T11:00:00Z"}}},
    ],
    ids=["old", "bare", "tweet", "post"],
)
def test_a_deletion_leaves_an_id_and_when_we_learned_of_it(said: dict):
    record = line(said).record

    assert (record["post_id"], record["deleted_at"], record["text"]) == (ID, NOON, None)


@pytest.mark.parametrize(
    "said",
    [
        {"status_withheld": {"status": STATUS, "withheld_in_countries": ["FR", "DE"]}},
        {"data": {"withheld": {"tweet": ABOUT, "withheld_in_countries": ["FR", "DE"], "event_at": "x"}}},
    ],
    ids=["old", "new"],
)
def test_a_withholding_leaves_an_id_and_the_countries(said: dict):
    record = line(said).record

    assert (record["post_id"], record["withheld_in"]) == (ID, "DE FR")
    assert (record["deleted_at"], record["text"]) == (None, None)
    POSTS.vet(record | {"_fetched_at": NOON})


@pytest.mark.parametrize("heartbeat", [b"", b"\r", b"  "])
def test_an_empty_line_is_a_heartbeat(heartbeat: bytes):
    assert POSTS.line(heartbeat, NOON) == x.Line()


def test_errors_alone_say_that_the_stream_ends():
    said = {"errors": [{"title": "operational-disconnect", "disconnect_type": "SlowReader", "detail": "too slow"}]}

    assert line(said) == x.Line(trouble="SlowReader: too slow")
    assert line({"errors": [{"message": "Rate limit exceeded", "code": 88}]}).trouble == "error: Rate limit exceeded"
    assert line({"errors": []}).trouble


@pytest.mark.parametrize("errors", [True, False], ids=["in a list", "bare"])
def test_a_line_that_refuses_the_connection_is_an_error_and_asks_for_a_longer_pause(errors: bool):
    problem = {"title": "ConnectionException", "detail": "limit", "connection_issue": "TooManyConnections"}

    said = line({"errors": [problem]} if errors else problem)

    assert said == x.Line(trouble="TooManyConnections: limit", refused=True)


def test_the_disconnect_message_of_the_old_stream_is_an_error():
    assert line({"disconnect": {"code": 4, "reason": "slow"}}) == x.Line(trouble="error: slow")


def test_errors_beside_a_post_are_about_what_it_refers_to():
    assert line({"data": {"id": ID, "text": "t"}, "errors": [{"title": "Not Found"}]}).record is not None


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b'{"data": {"id"', "invalid JSON"),
        (b"[]", "JSON object"),
        (b'{"meta": {}}', "'data', 'errors', 'title' or a notice"),
        (b'{"data": {"id": "5"}}', "'text' is missing"),
        (b'{"data": {"id": "5", "text": 7}}', "'text' must be a string"),
        (b'{"data": {"text": "t"}}', "'id' is missing"),
        (b'{"data": {"id": "abc", "text": "t"}}', "not the id of a post"),
        (b'{"data": {"id": "-1", "text": "t"}}', "not the id of a post"),
        (b'{"data": {"id": "99999999999999999999", "text": "t"}}', "not the id of a post"),
        (b'{"data": {"id": "5", "text": "t", "author_id": 7}}', "'author_id' must be STRING"),
        (b'{"data": {"id": "%s", "text": "t"}}' % (b"7" * 5000), "not the id of a post"),
        (b'{"delete": {}}', "'id' is missing"),
        (b'{"data": {"withheld": {"tweet": {"id": "5"}}}}', "'withheld_in_countries'"),
        (b'{"data": {"drop": {"tweet": {"id": "5"}}}}', "'text' is missing"),
    ],
)
def test_a_line_that_breaks_the_promise_is_refused_with_the_reason(said: bytes, why: str):
    with pytest.raises(Unreadable, match=why):
        POSTS.line(said, NOON)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([
                    *(
                        "data",
                        "id",
                        "text",
                        "entities",
                        "hashtags",
                        "tag",
                        "errors",
                        "delete",
                        "post",
                        "includes",
                        "users",
                        "withheld",
                        "note_tweet",
                        "matching_rules",
                    ),
                    *(
                        "referenced_tweets",
                        "referenced_posts",
                        "edit_history_tweet_ids",
                        "author_id",
                        "lang",
                        "type",
                        "title",
                    ),
                ]),
                inner,
                max_size=5,
            )
        ),
        max_leaves=20,
    )
)
def test_no_json_does_more_than_being_unreadable(said: object):
    try:
        found = POSTS.line(orjson.dumps(said, option=orjson.OPT_NON_STR_KEYS), NOON)
    except (Unreadable, orjson.JSONEncodeError):
        return
    assert isinstance(found, x.Line)


# --- what an audit would find ------------------------------------------------------------------


def told(**changes: object) -> dict[str, object]:
    return dict(line({"data": OLD}).record) | {"_fetched_at": NOON} | changes


@pytest.mark.parametrize(
    "record",
    [
        told(),
        told(text=""),
        told(text=None, deleted_at=NOON),
        told(_fetched_at=NOON - timedelta(minutes=59)),
    ],
)
def test_what_passes_the_audit_is_let_in(record: dict):
    POSTS.vet(record)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (told(text=None, withheld_in=None), "has no text"),
        (told(_fetched_at=NOON - timedelta(hours=1)), "created_at 2026-11-20 12:00 UTC is in the future"),
        (told(created_at=NOON + timedelta(milliseconds=1)), "does not match the time in the id"),
        (told(post_id="no id"), "not the id of a post"),
    ],
)
def test_what_would_not_pass_the_audit_is_refused(record: dict, why: str):
    with pytest.raises(Unreadable, match=why):
        POSTS.vet(record)


# --- ids and times -----------------------------------------------------------------------------


@given(st.integers(1_300_000_000, 3_300_000_000))  # 2011 to 2074
def test_the_id_at_an_instant_gives_the_instant_back(seconds: int):
    moment = datetime.fromtimestamp(seconds, UTC)
    assert abs(x.made_at(str(x.post_id_at(moment))) - moment) <= timedelta(milliseconds=1)


# --- the search --------------------------------------------------------------------------------


def test_the_plan_searches_from_the_watermark_to_what_the_search_knows():
    _, (query,) = lead(POSTS, Request({"query": "tesla"}, NOON, watermark=ID))

    params = dict(query.params)
    assert (query.path, params["query"], params["since_id"]) == (x.SEARCH_PATH, "tesla", ID)
    assert params["end_time"] == "2026-11-20T11:59:30Z"


@pytest.mark.parametrize("usernames", [True, False])
@pytest.mark.parametrize("words", x.SEARCH_WORDS)
def test_the_search_asks_only_for_what_the_specification_declares(words: dict[str, str], usernames: bool):
    params = dict(x.search("tesla", 1, NOON, now=NOON, usernames=usernames, words=words).params)
    declared = spec.SEARCH_PARAMETERS["tweet" if "tweet.fields" in words else "post"]

    spec.check_parameters(params, declared, "query")


@pytest.mark.parametrize("usernames", [True, False])
def test_the_stream_asks_only_for_what_the_specification_declares(usernames: bool):
    params = dict(x.stream(usernames=usernames).params)

    spec.check_parameters(params, spec.STREAM_PARAMETERS)
    assert {"note_tweet", "referenced_tweets", "withheld"} <= set(params["tweet.fields"].split(","))


def test_a_watermark_that_the_search_does_not_reach_is_moved_to_where_it_begins():
    query = x.search("tesla", 1, NOON, now=NOON)

    since = x.made_at(dict(query.params)["since_id"])
    assert timedelta(days=6, hours=22) < NOON - since <= timedelta(days=7) - x.SEARCH_SLACK


@pytest.mark.parametrize("query", [None, "", 7, "x" * 513])
def test_a_plan_needs_a_query(query: object):
    with pytest.raises(BadParameter, match="'query' must be"):
        lead(POSTS, Request({"query": query}, NOON))


def test_pages_are_followed_to_the_last():
    first = x.search("tesla", 0, NOON, now=NOON)
    page = Answer(first, Outcome.ANSWERED, 200, '{"data": [], "meta": {"next_token": "abc"}}', NOON)
    last = Answer(first, Outcome.ANSWERED, 200, '{"meta": {"result_count": 0}}', NOON)

    following = POSTS.next_page(first, page)

    assert dict(following.params) == dict(first.params) | {"next_token": "abc"}
    assert POSTS.next_page(following, last) is None


def test_a_page_and_an_array_of_pages_are_read():
    page = {"data": [OLD], "meta": {"result_count": 1}}
    empty = {"meta": {"result_count": 0}}
    query = Query.of(x.SEARCH_PATH)

    assert [record["post_id"] for record in POSTS.records(query, page)] == [ID]
    assert len(POSTS.records(query, [page, empty, page])) == 2


@pytest.mark.parametrize("page", [None, {}, {"meta": 7}, {"meta": {}, "data": {}}, {"meta": {}, "data": [7]}])
def test_a_page_that_is_none_is_refused(page: object):
    with pytest.raises(Unreadable):
        POSTS.records(Query.of(x.SEARCH_PATH), page)


# --- what the API complains of -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "headers", "action", "waits"),
    [
        (402, '{"title": "CreditsDepleted"}', {}, Action.REFUSE, False),
        (403, '{"detail": "spend cap"}', {}, Action.FORBID, False),
        (401, "{}", {}, Action.REFUSE, False),
        (409, "{}", {}, Action.REFUSE, False),
        (429, '{"type": "https://api.x.com/2/problems/usage-capped"}', {}, Action.REFUSE, False),
        (429, "{}", {"x-rate-limit-remaining": "0", "x-rate-limit-reset": "1e10"}, Action.THROTTLE, False),
        (429, "{}", {"x-rate-limit-remaining": "0", "x-rate-limit-reset": "900"}, Action.THROTTLE, True),
        (429, "{}", {"Retry-After": "7"}, Action.THROTTLE, True),
        (429, "{}", {}, Action.THROTTLE, False),
        (503, "", {}, Action.RETRY, False),
    ],
)
def test_a_complaint_is_understood(status: int, body: str, headers: dict[str, str], action: Action, waits: bool):
    decision = x.POLICY.judge(Response(status, body.encode(), headers))

    assert decision.action is action
    assert bool(decision.wait_s) is waits
