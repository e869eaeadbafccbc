"""Spotify: everything that only this API has. ``STREAMS`` names the class of each dataset."""

STREAMS = {
    "spotify_albums": "windrow.sources.spotify.streams:Albums",
    "spotify_artists": "windrow.sources.spotify.streams:Artists",
    "spotify_audio_features": "windrow.sources.spotify.streams:AudioFeatures",
    "spotify_top_tracks": "windrow.sources.spotify.streams:TopTracks",
}
