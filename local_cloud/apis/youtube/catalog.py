"""The channels and videos of the fake YouTube: always the same ones.

Three channels belong to the account that gave its consent: one with 200 videos, one with 3, and one with none.
Publication is spread over the three years before 2026-11-01; what is published after the simulated instant does
not exist yet.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random

from local_cloud.apis.youtube.pacific import pacific_day

PUBLISHED_BEFORE = datetime(2026, 11, 1, tzinfo=UTC)
PUBLISHED_WITHIN = timedelta(days=3 * 365)
ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

THINGS = (
    "Hay wagon",
    "Scythe",
    "Windrow turner",
    "Stone wall",
    "Hedge",
    "Beehive",
    "Rye bread",
    "Apple press",
    "Wool",
    "Rain gauge",
)
FORMS = (
    "{}: the whole build",
    "{} in 60 seconds",
    "How I mend a {}",
    "{} | part {{}}",
    "What nobody tells you about: {}",
    "{} — questions & answers",
)
AWKWARD_TITLES = (
    "👩🏽‍🌾 Harvest day!! 🌾🚜 (4K) 🎉",
    'He said "dry it first" — I didn\'t',
    "كيف نجفف القش في يوم واحد",
    "איך מייבשים חציר ביום אחד",
    "干し草を一日で乾かす方法【完全版】",
    '=HYPERLINK("not a formula")',
    "NULL",
    "Tab\there, comma, semicolon; pipe | and back\\slash",
    "Cafe\u0301 and Café: one letter, two ways to write it",
    "H" + "a" * 98 + "y",
    "  blanks at both ends  ",
    "100% dry? 50/50 & a + b = c #shorts",
)
"""Every tenth title or so; a title has at most 100 characters, and none has < or >."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Video:
    """One video. `popularity` and `seed` are what its figures are computed from."""

    id: str
    channel_id: str
    title: str
    description: str
    published_at: datetime
    first_day: date
    """The Pacific day of its publication: the first day that has figures."""
    seconds: int
    tags: tuple[str, ...]
    likes_hidden: bool
    comments_off: bool
    popularity: int
    """Views of its first day, roughly."""
    seed: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Channel:
    """One channel with all it ever publishes, oldest first."""

    id: str
    handle: str
    title: str
    created_at: datetime
    subscribers: int
    videos: tuple[Video, ...]

    @property
    def uploads(self) -> str:
        """The id of the playlist that lists its videos."""
        return "UU" + self.id.removeprefix("UC")

    def published(self, now: datetime) -> list[Video]:
        """Give the videos that exist at `now`, newest first."""
        return [video for video in reversed(self.videos) if video.published_at <= now]


def _videos(channel_id: str, count: int, random: Random) -> Iterator[Video]:
    ages = sorted((random.random() for _ in range(count)), reverse=True)
    for number, age in enumerate(ages):
        published_at = (PUBLISHED_BEFORE - age * PUBLISHED_WITHIN).replace(microsecond=0)
        thing = random.choice(THINGS)
        title = random.choice(FORMS).format(thing).format(number)
        if number % 10 == 3:
            title = AWKWARD_TITLES[number // 10 % len(AWKWARD_TITLES)]
        yield Video(
            id="".join(random.choice(ID_LETTERS) for _ in range(11)),
            channel_id=channel_id,
            title=title,
            description=f"{title}\n\n0:00 Start\n1:30 {thing}\n\n“Make hay while the sun shines.” ☀️",
            published_at=published_at,
            first_day=pacific_day(published_at),
            seconds=random.choice((random.randint(12, 59), random.randint(61, 1_500), random.randint(1_501, 9_000))),
            tags=tuple(random.sample(("hay", "farm", "diy", "slow life", "干し草"), random.randint(0, 3))),
            likes_hidden=random.random() < 0.05,
            comments_off=random.random() < 0.05,
            popularity=int(40 * 600 ** random.random()),
            seed=random.getrandbits(64),
        )


def _channel(channel_id: str, handle: str, title: str, subscribers: int, count: int) -> Channel:
    return Channel(
        id=channel_id,
        handle=handle,
        title=title,
        created_at=datetime(2023, 10, 1, 17, 0, tzinfo=UTC),
        subscribers=subscribers,
        videos=tuple(_videos(channel_id, count, Random(channel_id))),
    )


DEMO = _channel("UCwindrowdemo00000000000", "windrowdemo", "Windrow Demo 🌾", 48_213, 200)
"""The channel of `mine=true` and `channel==MINE`."""
SECOND = _channel("UCwindrowsecond000000000", "windrowsecond", "Windrow, the second", 71, 3)
EMPTY = _channel("UCwindrowempty0000000000", "windrowempty", "Nothing here yet", 0, 0)
CHANNELS = {channel.id: channel for channel in (DEMO, SECOND, EMPTY)}
VIDEOS = {video.id: video for channel in CHANNELS.values() for video in channel.videos}
