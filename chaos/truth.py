"""What the tables have to hold: computed from the worlds of the fake APIs, by key and value."""

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.cloud import bigquery

from local_cloud import aws_resources
from local_cloud.airflow_env import KNOWN_ARTISTS
from local_cloud.apis.github.world import LISTS, make_world
from local_cloud.apis.made_up_passengers import make_passengers
from local_cloud.apis.spotify.catalogue import Artist, make_music
from local_cloud.apis.x.posts import EPOCH_MS, Post, make_post
from local_cloud.apis.x.rules import compile_query
from local_cloud.apis.x.scene import Scene
from local_cloud.apis.x.timeline import BACK
from local_cloud.apis.youtube import figures
from local_cloud.apis.youtube.catalog import DEMO
from local_cloud.apis.youtube.pacific import pacific_day
from local_cloud.settings import Settings
from windrow.model.contract import Column
from windrow.sources.github.streams import Users
from windrow.sources.titanic.streams import Passengers
from windrow.sources.youtube.streams import VideoDays

REPOSITORIES = ["globex/sluice", "tiny/one", "tiny/exact.hundred"]
VIDEOS = DEMO.videos[-60:]
"""The newest: the playlist lists no others."""
DAYS = 30
ARTISTS = list(make_music().artists.values())
KNOWN = ARTISTS[:KNOWN_ARTISTS]
ASKABLE = [one for one in ARTISTS[KNOWN_ARTISTS:] if one.top_tracks and one.name != "Echo"]
"""Artists that the chatbot may ask for by name: one artist has the name, and it has tracks."""

Rows = dict[Any, tuple[Any, ...]]


@dataclass
class Difference:
    """How a table differs from its API. The first few keys of each kind are kept as examples."""

    table: str
    rows: int
    lost: list[Any] = field(default_factory=list)
    doubled: list[Any] = field(default_factory=list)
    wrong: list[Any] = field(default_factory=list)

    @property
    def is_none(self) -> bool:
        """Whether nothing is lost, doubled or wrong."""
        return not (self.lost or self.doubled or self.wrong)

    def __str__(self) -> str:
        kinds = {"lost": self.lost, "duplicated": self.doubled, "wrong": self.wrong}
        told = ", ".join(f"{len(keys)} {kind}" for kind, keys in kinds.items())
        examples = "".join(f"; {kind}: {keys[:3]}" for kind, keys in kinds.items() if keys)
        return f"{self.table}: {self.rows:,} rows, {told}{examples}"


def compare(
    table: str, found: Iterable[tuple[Any, tuple[Any, ...]]], must: Rows, may: Rows | None = None
) -> Difference:
    """Compare rows with what has to be there, and with what may be there beside."""
    allowed = must | (may or {})
    difference = Difference(table, 0)
    seen = set()
    for key, values in found:
        difference.rows += 1
        if key in seen:
            difference.doubled.append(key)
        elif allowed.get(key) != values:
            difference.wrong.append((key, values, allowed.get(key)))
        seen.add(key)
    difference.lost = [key for key in must if key not in seen]
    return difference


def check(settings: Settings, warehouse: bigquery.Client, requested: Iterable[str], since: int) -> list[Difference]:
    """Compare every table with its API.

    :param requested: names of the artists that the chatbot asked for.
    :param since: the id of the newest post that was made before the publisher read the stream.
    """
    asked = [one for one in ASKABLE if one.name in set(requested)]
    return [
        *check_harvested(warehouse),
        compare("x.posts", posts_found(warehouse), *posts(settings.var / "apis" / "posts", since)),
        compare("spotify.top_tracks", _tracks_found(settings), _tracks(KNOWN), _tracks(asked)),
        compare("DynamoDB top_tracks", _told(settings), _items([*KNOWN, *asked])),
        compare("DynamoDB artist_requests", outcomes(settings), {one.name.casefold(): ("found",) for one in asked}),
    ]


def check_harvested(warehouse: bigquery.Client) -> list[Difference]:
    """Compare the tables of titanic_passengers, github_users and youtube_analytics with their APIs."""
    passengers = {str(one["Name"]): _fields(one, Passengers.contract.columns) for one in make_passengers()}
    users = make_world().details(make_world().member_ids(REPOSITORIES))
    details = {user_id: _fields(detail, Users.contract.columns) for user_id, detail in users.items()}
    titanic, github, youtube = Passengers.contract.columns, Users.contract.columns, VideoDays.contract.columns
    return [
        compare("titanic.passengers", _bigquery(warehouse, "titanic.passengers", "name", titanic), passengers),
        compare("github.users", _bigquery(warehouse, "github.users", "user_id", github), details),
        compare("github.memberships", _memberships(warehouse), _listed()),
        compare(
            "youtube.video_days",
            (((values[0], values[1]), values) for _, values in _bigquery(warehouse, "youtube.video_days", "", youtube)),
            _video_days(youtube),
        ),
    ]


def _fields(record: Mapping[str, Any], columns: Iterable[Column]) -> tuple[Any, ...]:
    return tuple(_plain(record[column.field]) for column in columns)


def _plain(value: Any) -> Any:
    """Return dates and times as the APIs write them."""
    if isinstance(value, datetime.datetime):
        return f"{value.astimezone(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"
    return value.isoformat() if isinstance(value, datetime.date) else value


def _bigquery(warehouse: bigquery.Client, table: str, key: str, columns: Iterable[Column]) -> list[Any]:
    names = [column.name for column in columns]
    rows = [dict(row) for row in warehouse.query_and_wait(f"SELECT * FROM {table}")]
    return [(row.get(key), tuple(_plain(row[name]) for name in names)) for row in rows]


def _video_days(columns: Iterable[Column]) -> Rows:
    today = pacific_day(datetime.datetime.now(datetime.UTC))
    wanted = [figures.METRICS[column.field] for column in columns if column.field in figures.METRICS]
    rows: Rows = {}
    for video in VIDEOS:
        for day in figures.days(first_day(), figures.last_day(today, wanted)):
            told = figures.known(video, day, today)
            if told is not None:
                rows[video.id, day.isoformat()] = (video.id, day.isoformat(), *(one.of(told) for one in wanted))
    return rows


def first_day() -> datetime.date:
    """Return the first day whose figures are harvested."""
    return pacific_day(datetime.datetime.now(datetime.UTC)) - datetime.timedelta(days=DAYS)


def _listed() -> Rows:
    rows: Rows = {}
    for name in REPOSITORIES:
        repository = make_world().repository(name)
        rows |= {(name, LISTS[0], one.user.id): (one.commits, None) for one in repository.contributors if one.user}
        stars = ((one.user.id, one.starred_at) for one in repository.stargazers if one.user)
        rows |= {(name, LISTS[1], user_id): (None, _plain(since)) for user_id, since in stars}
        rows |= {(name, LISTS[2], one.user.id): (None, _plain(one.created_at)) for one in repository.forks}
    return rows


def _memberships(warehouse: bigquery.Client) -> list[Any]:
    rows = warehouse.query_and_wait("SELECT * FROM github.memberships WHERE user_id IS NOT NULL")
    return [
        ((row["repository"], row["list"], row["user_id"]), (row["contributions"], _plain(row["since"]))) for row in rows
    ]


def posts(file: Path, since: int) -> tuple[Rows, Rows]:
    """Return the posts that must be there, and with the reposts those that may: a search does not return reposts."""
    made = [int(line) for line in file.read_bytes().split(b"\n")[:-1]]
    ids = [((made_ms - EPOCH_MS) << 22) | (number & 0x3FFFFF) for number, made_ms in enumerate(made)]
    before = ["" if number < BACK else str(ids[number - BACK]) for number in range(len(made))]
    posts = [make_post(Scene(), number, made_ms, before[number]) for number, made_ms in enumerate(made)]
    matches = compile_query("tesla")
    relevant = [post for post in posts if matches(post)]
    may = {post.id: _post(post) for post in relevant}
    must = {post.id: may[post.id] for post in relevant if not post.repost_of and int(post.id) > since}
    return must, may


def _post(post: Post) -> tuple[Any, ...]:
    return (
        post.text,
        post.author_id,
        post.lang,
        " ".join(sorted(tag.lower() for tag in post.hashtags)),
        post.repost_of,
    )


def posts_found(warehouse: bigquery.Client) -> list[Any]:
    """Return the posts that are in BigQuery, as `posts` returns them."""
    found = []
    for row in warehouse.query_and_wait("SELECT * FROM x.posts"):
        tags = " ".join(sorted((row["hashtags"] or "").split()))
        found.append((row["post_id"], (row["text"], row["author_id"], row["lang"], tags, row["repost_of"])))
    return found


def _tracks(artists: Iterable[Artist]) -> Rows:
    return {
        (artist.id, rank): (track.id, track.name, track.album.name, track.duration_ms, track.popularity)
        for artist in artists
        for rank, track in enumerate(artist.top_tracks, 1)
    }


def _tracks_found(settings: Settings) -> list[Any]:
    from windrow.airflow.hooks.athena import Athena  # noqa: PLC0415  imports Airflow

    columns = ("artist_id", "rank", "track_id", "track_name", "album_name", "duration_ms", "popularity")
    rows = Athena("aws_default", "s3://windrow-lake/athena/chaos/").ask("SELECT * FROM spotify.top_tracks")
    found = []
    for row in rows:
        artist, rank, track, name, album, duration, popularity = (row[column] for column in columns)
        found.append(((artist, int(rank)), (track, name, album, int(duration), int(popularity))))
    return found


def _items(artists: Iterable[Artist]) -> Rows:
    return {artist.id: tuple(track.id for track in artist.top_tracks) for artist in artists}


def _told(settings: Settings) -> list[Any]:
    items = aws_resources.client(settings, "dynamodb").scan(TableName="top_tracks")["Items"]
    return [(item["artist_id"]["S"], tuple(track["M"]["id"]["S"] for track in item["tracks"]["L"])) for item in items]


def outcomes(settings: Settings) -> list[Any]:
    """Return each request of the chatbot in lower case, with its outcome."""
    items = aws_resources.client(settings, "dynamodb").scan(TableName="artist_requests")["Items"]
    return [(item["request"]["S"], (item["outcome"]["S"],)) for item in items]
