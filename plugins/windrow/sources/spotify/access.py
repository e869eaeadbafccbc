"""What a client id of Spotify may call: refusals, quotas, and the endpoints that newer ids do not get.

Each endpoint has a quota of unpublished size. When it is used up, the API refuses this endpoint for up to a day; the
others continue. Each has a `Quota` without units here, so that all runs know of a used-up one.
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
"""A longer Retry-After than this means a used-up quota, even if the API does not say so."""


def _error_detail(response: Response) -> ErrorDetail:
    """Read a refusal. It may be JSON or plain text, in any letter case."""
    wait_s, said = response.retry_after_s, response.body[:2_000].upper()
    if response.status == 403 and (b"PREMIUM SUBSCRIPTION" in said or b"NO_PREMIUM" in said):
        return ErrorDetail("NO_PREMIUM", wait_s)
    if response.status == 429 and (b"QUOTA_EXCEEDED" in said or (wait_s or 0) > _A_MOMENT_S):
        return ErrorDetail("QUOTA_EXCEEDED", wait_s)
    return ErrorDetail(wait_s=wait_s)


POLICY = HTTP_POLICY.preceded_by(
    on(403, Action.DENY, "the owner of the client id needs a Premium subscription", reason="NO_PREMIUM"),
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
    """What a client id may call in addition to single artists, their albums, and searches."""

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


def probe(artist_id: str) -> Flow[Capabilities]:
    """Call each endpoint that a client id may not have, once, about an artist.

    The client id has an endpoint whose quota is used up, and a run may wait for the quota.
    """
    found = dict.fromkeys(Capabilities.__dataclass_fields__, True)
    for name, query in (
        ("batches", Query.of("/artists", {"ids": artist_id})),
        ("top_tracks", Query.of(f"/artists/{artist_id}/top-tracks", {"market": "US"})),
        ("audio_features", Query.of("/audio-features", {"ids": "0" * 22})),
    ):
        try:
            yield query
        except QueryRefused as refused:
            found[name] = refused.status != 403  # a 404 is about the artist
        except RateLimited:
            pass
    return Capabilities(**found)
