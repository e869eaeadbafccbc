"""One module a source. ``stream(dataset)`` finds the class that a DAG names."""

from importlib import import_module

from windrow.errors import BadParameter
from windrow.sources.base import Stream

STREAMS = {
    "spotify_albums": "windrow.sources.spotify:Albums",
    "spotify_artists": "windrow.sources.spotify:Artists",
    "spotify_audio_features": "windrow.sources.spotify:AudioFeatures",
    "spotify_top_tracks": "windrow.sources.spotify:TopTracks",
    "github_memberships": "windrow.sources.github:Memberships",
    "github_users": "windrow.sources.github:Users",
    "titanic_passengers": "windrow.sources.titanic:Passengers",
    "youtube_videos": "windrow.sources.youtube:Videos",
    "youtube_video_days": "windrow.sources.youtube:VideoDays",
}


def stream(dataset: str) -> Stream:
    """Make the stream of a dataset, importing only its own source.

    :raises BadParameter: no source declares it.
    """
    if dataset not in STREAMS:
        raise BadParameter(
            f"No source declares the dataset {dataset!r}.",
            advice=f"Known are {', '.join(sorted(STREAMS))}; a new one is entered in windrow/sources/__init__.py.",
        )
    module, name = STREAMS[dataset].split(":")
    made = getattr(import_module(module), name)()
    assert isinstance(made, Stream)  # noqa: S101 - tells the type checker what the table above promises
    return made
