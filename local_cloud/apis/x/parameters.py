"""Query parameters that the stream and the search declare (specification 2.167), and the values of their lists."""

from collections.abc import Mapping

_COMMON = (
    *("article", "attachments", "card_uri", "community_id", "context_annotations", "conversation_id", "created_at"),
    *("display_text_range", "edit_controls", "entities", "geo", "id", "lang", "matched_media_notes", "media_metadata"),
    *("non_public_metrics", "note_request_suggestions", "organic_metrics", "paid_partnership", "possibly_sensitive"),
    *("promoted_metrics", "public_metrics", "reply_settings", "scopes", "source", "suggested_source_links"),
    *("suggested_source_links_with_counts", "text", "withheld"),
)
TWEET_FIELDS = frozenset({
    *_COMMON,
    *("author_id", "edit_history_tweet_ids", "in_reply_to_user_id", "note_tweet", "referenced_tweets"),
})
POST_FIELDS = frozenset({*_COMMON, "article_title", "note_post"})
_EXPANSIONS = frozenset({"attachments.media_keys", "attachments.poll_ids", "author_id", "geo.place_id"})
USER_FIELDS = frozenset({"created_at", "description", "id", "location", "name", "username", "verified"})

STREAM: Mapping[str, frozenset[str]] = {
    "backfill_minutes": frozenset(),
    "start_time": frozenset(),
    "end_time": frozenset(),
    "tweet.fields": TWEET_FIELDS,
    "expansions": _EXPANSIONS | {"edit_history_tweet_ids", "in_reply_to_user_id", "referenced_tweets.id"},
    "user.fields": USER_FIELDS,
}
"""By the name of a parameter, the values of which it is a list; empty if it is not a list."""
_SEARCH: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("query", "since_id", "until_id", "start_time", "end_time"), frozenset()),
    **dict.fromkeys(("max_results", "next_token", "pagination_token", "sort_order"), frozenset()),
    "user.fields": USER_FIELDS,
}
SEARCH: Mapping[str, Mapping[str, frozenset[str]]] = {
    "post": {
        **_SEARCH,
        "post.fields": POST_FIELDS,
        "expansions": _EXPANSIONS | {"edit_history_post_ids", "in_reply_to_user_id", "referenced_posts", "username"},
    },
    "tweet": {**_SEARCH, "tweet.fields": TWEET_FIELDS, "expansions": STREAM["expansions"]},
}
"""The parameters of the search in each vocabulary."""


def complaint(query: Mapping[str, str], declared: Mapping[str, frozenset[str]]) -> str:
    """Say which parameter of a query is not declared, or which value of its list. Empty if all are."""
    for name, value in query.items():
        if name not in declared:
            return f"The query parameter [{name}] is not one of {sorted(declared)}"
        for one in value.split(",") if declared[name] else ():
            if one not in declared[name]:
                return f"The `{name}` query parameter value [{one}] is not one of {sorted(declared[name])}"
    return ""
