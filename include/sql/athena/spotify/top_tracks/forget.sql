-- An earlier try of this run, forgotten; its files are deleted beside.
DROP TABLE IF EXISTS spotify.top_tracks_{{ run_id | slug }}
