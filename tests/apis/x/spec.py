"""What the X API promises and accepts, written from its specification 2.167 (github.com/xdevplatform/docs, 2026-08-22).

Only what Windrow uses. The fake API and the requests of the source are both checked against it, so that the two cannot
agree on something that X does not do. docs/x-posts.md says where the prose documentation differs.
"""

from typing import Any

import jsonschema

ID = {"type": "string", "pattern": "^[0-9]{1,19}$"}
_TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"}
_SPANS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["start", "end", "tag"],
        "properties": {"start": {"type": "integer"}, "end": {"type": "integer"}, "tag": {"type": "string"}},
    },
}
_ENTITIES = {"type": "object", "properties": {"hashtags": _SPANS, "cashtags": _SPANS}}
_NOTE = {
    "type": "object",
    "required": ["text"],
    "properties": {"text": {"type": "string"}, "entities": _ENTITIES},
}
_REFERENCES = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["type", "id"],
        "properties": {"type": {"enum": ["retweeted", "quoted", "replied_to"]}, "id": ID},
    },
}
_COMMON = {
    "id": ID,
    "text": {"type": "string"},
    "author_id": ID,
    "created_at": _TIME,
    "lang": {"type": "string"},
    "entities": _ENTITIES,
    "withheld": {"type": "object", "required": ["copyright", "country_codes"]},
}


def _metrics(repeated: str) -> dict[str, Any]:
    names = [repeated, "reply_count", "like_count", "quote_count", "bookmark_count", "impression_count"]
    counts = {name: {"type": "integer"} for name in names}
    return {"type": "object", "required": names, "properties": counts, "additionalProperties": False}


def _post(words: str, fields: dict[str, Any]) -> dict[str, Any]:
    """A post in one vocabulary, and in no other: both would pass as unknown fields, which the specification allows."""
    required = ["id", "text", f"edit_history_{words}_ids"]  # by the prose: they come without being asked for
    return {
        "type": "object",
        "required": required,
        "properties": _COMMON | fields,
        "additionalProperties": False,
    }


POSTS = {
    "tweet": _post(
        "tweet",
        {
            "edit_history_tweet_ids": {"type": "array", "items": ID},
            "referenced_tweets": _REFERENCES,
            "note_tweet": _NOTE,
            "public_metrics": _metrics("retweet_count"),
        },
    ),
    "post": _post(
        "post",
        {
            "edit_history_post_ids": {"type": "array", "items": ID},
            "referenced_posts": _REFERENCES,
            "note_post": _NOTE,
            "public_metrics": _metrics("repost_count"),
        },
    ),
}
_INCLUDES = {
    "type": "object",
    "properties": {"users": {"type": "array", "items": {"type": "object", "required": ["id", "name", "username"]}}},
}


def line(words: str) -> dict[str, Any]:
    """A line of the stream with a post."""
    rule = {"type": "object", "required": ["id"], "properties": {"id": ID, "tag": {"type": "string"}}}
    return {
        "type": "object",
        "required": ["data", "matching_rules"],
        "properties": {
            "data": POSTS[words],
            "includes": _INCLUDES,
            "matching_rules": {"type": "array", "minItems": 1, "items": rule},
        },
        "additionalProperties": False,
    }


def page(words: str) -> dict[str, Any]:
    """A page of the search."""
    return {
        "type": "object",
        "required": ["meta"],
        "properties": {
            "data": {"type": "array", "minItems": 1, "items": POSTS[words]},
            "includes": _INCLUDES,
            "meta": {
                "type": "object",
                "required": ["result_count"],
                "properties": {
                    "newest_id": ID,
                    "oldest_id": ID,
                    "next_token": {"type": "string", "minLength": 1},
                    "result_count": {"type": "integer"},
                },
            },
        },
        "additionalProperties": False,
    }


PROBLEM = {
    "type": "object",
    "required": ["type", "title", "detail"],
    "properties": {"type": {"type": "string"}, "title": {"type": "string"}, "detail": {"type": "string"}},
}
RULES = {
    "type": "object",
    "properties": {
        "data": {"type": "array", "items": {"type": "object", "required": ["id", "value"]}},
        "meta": {"type": "object"},
        "errors": {"type": "array"},
    },
    "additionalProperties": False,
}

_SHARED_FIELDS = (
    "article attachments card_uri community_id context_annotations conversation_id created_at display_text_range "
    "edit_controls entities geo id lang matched_media_notes media_metadata non_public_metrics "
    "note_request_suggestions organic_metrics paid_partnership possibly_sensitive promoted_metrics public_metrics "
    "reply_settings scopes source suggested_source_links suggested_source_links_with_counts text withheld"
)
_TWEET_FIELDS = f"{_SHARED_FIELDS} author_id edit_history_tweet_ids in_reply_to_user_id note_tweet referenced_tweets"
_POST_FIELDS = f"{_SHARED_FIELDS} article_title note_post"
_EXPANSIONS = "article.cover_media attachments.media_keys attachments.poll_ids author_id entities.mentions.username "
_USER_FIELDS = "created_at description id location name protected public_metrics url username verified withheld"


def _list_of(values: str) -> dict[str, Any]:
    one = "|".join(value.replace(".", r"\.") for value in values.split())
    return {"type": "string", "pattern": f"^({one})(,({one}))*$"}


STREAM_PARAMETERS = {
    "tweet.fields": _list_of(_TWEET_FIELDS),
    "expansions": _list_of(f"{_EXPANSIONS} edit_history_tweet_ids in_reply_to_user_id referenced_tweets.id"),
    "user.fields": _list_of(_USER_FIELDS),
}
_SEARCH_PARAMETERS = {
    "query": {"type": "string", "minLength": 1, "maxLength": 512},  # by the prose; the specification has 4,096
    "max_results": {"type": "string", "pattern": "^([1-9][0-9]|100)$"},
    "since_id": ID,
    "end_time": _TIME,
    "next_token": {"type": "string", "minLength": 1},
    "user.fields": _list_of(_USER_FIELDS),
}
SEARCH_PARAMETERS = {
    "post": _SEARCH_PARAMETERS
    | {
        "post.fields": _list_of(_POST_FIELDS),
        "expansions": _list_of(f"{_EXPANSIONS} edit_history_post_ids in_reply_to_user_id referenced_posts username"),
    },
    "tweet": _SEARCH_PARAMETERS
    | {"tweet.fields": _list_of(_TWEET_FIELDS), "expansions": STREAM_PARAMETERS["expansions"]},
}
"""Of the search. The old vocabulary is that of specification 2.166."""


def check(value: object, schema: dict[str, Any]) -> None:
    """Raise jsonschema's ValidationError unless the value is as promised."""
    jsonschema.validate(value, schema)


def check_parameters(given: dict[str, str], declared: dict[str, Any], *required: str) -> None:
    """Raise jsonschema's ValidationError unless these query parameters are declared and valid."""
    check(given, {"type": "object", "properties": declared, "required": list(required), "additionalProperties": False})
