"""Made-up posts. What post number n says depends on the seed, on n and on the shares of the scene alone."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from local_cloud.apis.x.scene import Scene

EPOCH_MS = 1_288_834_974_657
"""From when ids count, in milliseconds since 1970."""
TEXTS = {
    "en": ("the new software update of my {} feels like another car", "is anyone else waiting for the {} event?"),
    "de": ("mein {} lädt schneller als gestern", "der {} steht wieder in der Werkstatt"),
    "fr": ("la {} de mon voisin ne fait pas un bruit", "on parle encore de {} ce matin"),
    "es": ("vi tres {} en la misma calle", "no sé qué pensar de {} hoy"),
    "ja": ("今日は{}に乗った", "{}の充電が終わらない"),
    "und": ("{} \U0001f697\u26a1", "{} \U0001f44d\U0001f3fd\U0001f680\U0001f680"),
}
LANGUAGES = ("en",) * 10 + ("de",) * 3 + ("fr", "es", "es", "ja", "ja", "und")
HASHTAGS = ("Tesla", "EV", "ModelY", "Cybertruck", "TSLA", "FSD", "charging", "robotaxi", "Autopilot", "energy")
AUTHORS = 400
RENAMED = {
    "edit_history_tweet_ids": "edit_history_post_ids",
    "referenced_tweets": "referenced_posts",
    "note_tweet": "note_post",
}
"""Fields by their names before and after August 2026."""
DEFAULT_FIELDS = frozenset({"id", "text", "edit_history_tweet_ids"})
RELATIONS = frozenset({"author_id", "edit_history_tweet_ids", "referenced_tweets"})
"""Fields by their old names that the new vocabulary has as expansions."""
SHORT = 280
"""A longer text is cut in the field `text`, and whole in the note."""
FILLER = " and there is a lot more to say about it, as everybody knows who waited for one"


@dataclass(frozen=True, slots=True)
class Post:
    """One post. ``edits`` are the ids of its versions, this one last."""

    id: str
    number: int
    created_at: datetime
    text: str
    author_id: str
    lang: str
    hashtags: tuple[str, ...]
    repost_of: str | None = None
    edits: tuple[str, ...] = field(default=())

    def as_json(self, fields: Set[str], vocabulary: str) -> dict[str, Any]:
        """Return the post as the API shows it: with these fields (old names), in the names of a vocabulary."""
        is_new = vocabulary == "post"
        is_long = len(self.text) > SHORT
        entities = self._entities(self.text)
        shown: dict[str, Any] = {
            "id": self.id,
            "text": f"{self.text[: SHORT - 30]}\u2026 https://t.co/{self.number}" if is_long else self.text,
            "author_id": self.author_id,
            "created_at": self.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "lang": self.lang,
            "public_metrics": {
                "repost_count" if is_new else "retweet_count": self.number % 7,
                "reply_count": 0,
                "like_count": self.number % 31,
                "quote_count": 0,
                "bookmark_count": 0,
                "impression_count": self.number % 997,
            },
            "edit_history_tweet_ids": list(self.edits),
        }
        if entities and not is_long:
            shown["entities"] = entities
        if is_long:
            shown["note_tweet"] = {"text": self.text} | ({"entities": entities} if entities else {})
        if self.repost_of:
            shown["referenced_tweets"] = [{"type": "retweeted", "id": self.repost_of}]
        return {RENAMED.get(name, name) if is_new else name: value for name, value in shown.items() if name in fields}

    def _entities(self, text: str) -> dict[str, Any]:
        if not self.hashtags:
            return {}
        spans = [(text.index(f"#{tag}"), tag) for tag in self.hashtags]
        return {"hashtags": [{"start": start, "end": start + len(tag) + 1, "tag": tag} for start, tag in sorted(spans)]}


def user(author_id: str) -> Mapping[str, str]:
    """Return who an author is."""
    number = int(author_id) - 9_000_000
    return {"id": author_id, "name": f"Driver {number}", "username": f"driver_{number:03d}"}


def post_id(number: int, made_ms: int) -> str:
    """Return the id of a post: it grows with the time at which the post was made (milliseconds since 1970)."""
    return str(((made_ms - EPOCH_MS) << 22) | (number & 0x3FFFFF))


def make_post(scene: Scene, number: int, made_ms: int, earlier: str) -> Post:
    """Make post number n. ``earlier`` is the id of a post before it, for those that refer to one."""
    random = Random(f"{scene.seed}|{number}")
    off_topic, repost, edit = random.random(), random.random(), random.random()
    lang = random.choice(LANGUAGES)
    word = "bicycle" if off_topic < scene.off_topic_share else random.choice(("Tesla", "tesla", "TESLA"))
    hashtags = tuple(random.sample(HASHTAGS, random.choice((0, 0, 1, 1, 2, 3))))
    if off_topic < scene.off_topic_share:
        hashtags = tuple(tag for tag in hashtags if tag != "Tesla")
    said = random.choice(TEXTS[lang]).format(word)
    # a few authors write most of the posts
    author = 9_000_000 + min(int(random.paretovariate(0.7)), AUTHORS)
    own = post_id(number, made_ms)
    is_repost = bool(earlier) and repost < scene.repost_share
    if random.random() < scene.long_share:
        said += FILLER * 4
    text = " ".join((said, *(f"#{tag}" for tag in hashtags)))
    is_edit = bool(earlier) and not is_repost and edit < scene.edit_share
    return Post(
        id=own,
        number=number,
        created_at=datetime.fromtimestamp(made_ms / 1000, UTC),
        text=f"RT @driver_001: {text}" if is_repost else text,
        author_id=str(author),
        lang=lang,
        hashtags=hashtags,
        repost_of=earlier if is_repost else None,
        edits=(earlier, own) if is_edit else (own,),
    )
