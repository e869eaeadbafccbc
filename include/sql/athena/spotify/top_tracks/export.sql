-- What the chatbot is told of each artist, in the order of the ranks.
SELECT
  artist_id, artist_name, rank, ranked_by, track_id, track_name, album_name, released_on, duration_ms, popularity, tempo,
  fetched_at, run_id
FROM {{ prefix() }}spotify.top_tracks
ORDER BY artist_id, rank
