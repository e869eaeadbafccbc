"""What Spotify lets a client id ask: its refusals, its quotas, and what is withdrawn from newer ids.

The quotas are of endpoints, and their sizes are secret: the API closes an endpoint, for up to a day, and the others
go on. Each has a `Quota` without units here, so that a closed one is known to all runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from windrow.model.errors import QueryRefused, RateLimited
from windrow.model.policy import HTTP_POLICY, Action, ErrorDetail, on
from windrow.model.query import Query
from windrow.model.quota import Period, Quota
from windrow.model.response import Response
from windrow.model.stream import Flow

_A_MOMENT_S = 60.0
"""A longer Retry-After than this is that of a quota, also where the API does not say so."""


def _error_detail(response: Response) -> ErrorDetail:
    """Read a refusal. It may be JSON or plain text."""
    wait_s = response.retry_after_s
    if response.status == 403 and b"premium subscription" in response.body[:500]:
        return ErrorDetail("NO_PREMIUM", wait_s)
    if response.status == 429 and (b"QUOTA_EXCEEDED" in response.body[:2_000] or (wait_s or 0) > _A_MOMENT_S):
        return ErrorDetail("QUOTA_EXCEEDED", wait_s)
    return ErrorDetail(wait_s=wait_s)


POLICY = HTTP_POLICY.preceded_by(
    on(403, Action.DENY, "the owner of the client id has to pay first", reason="NO_PREMIUM"),
    on(429, Action.QUOTA_EXHAUSTED, "the quota of this endpoint is used up", reason="QUOTA_EXCEEDED"),
    error_detail=_error_detail,
)
QUOTAS = tuple(
    Quota(f"spotify.{name}", Period.MINUTE, None, paths)
    for name, paths in (
        ("top-tracks", ("/artists/*/top-tracks",)),
        ("artist-albums", ("/artists/*/albums",)),
        ("artists", ("/artists",)),
        ("albums", ("/albums",)),
        ("tracks", ("/tracks",)),
        ("audio-features", ("/audio-features",)),
        ("search", ("/search",)),
    )
)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a client id may ask beside single artists, their albums, and searches."""

    batches: bool
    top_tracks: bool
    audio_features: bool

    @property
    def datasets(self) -> list[str]:
        """The datasets that can be harvested."""
        withdrawn = set() if self.audio_features else {"spotify_audio_features"}
        return [name for name in ("spotify_artists", "spotify_albums", "spotify_top_tracks", "spotify_audio_features")
                if name not in withdrawn]  # fmt: skip


CLIENTS: Mapping[str, Capabilities] = {
    "extended": Capabilities(batches=True, top_tracks=True, audio_features=True),
    "legacy": Capabilities(batches=True, top_tracks=True, audio_features=False),
    "new": Capabilities(batches=False, top_tracks=False, audio_features=False),
}
"""By the kind of client id: with extended quota since before 2024-11-27; made before 2026-02-11; made since then."""


def probe(artist_id: str, *, can_wait: bool = True) -> Flow[Capabilities]:
    """Ask each endpoint that may be withdrawn once, about an artist, and find out which are.

    :param can_wait: what to say of an endpoint whose quota is used up. It is not withdrawn, so whoever can wait for
        it to open may ask it.
    """
    found = {}
    for name, query in (
        ("batches", Query.of("/artists", {"ids": artist_id})),
        ("top_tracks", Query.of(f"/artists/{artist_id}/top-tracks", {"market": "US"})),
        ("audio_features", Query.of("/audio-features", {"ids": "0" * 22})),
    ):
        try:
            yield query
        except QueryRefused as refused:
            found[name] = refused.status != 403  # of a 404 it is the artist that is gone, not the endpoint
        except RateLimited:
            found[name] = can_wait
        else:
            found[name] = True
    return Capabilities(**found)
