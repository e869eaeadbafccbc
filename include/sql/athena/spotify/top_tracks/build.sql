-- The top tracks of all known artists as they are now: of each artist the newest answer, with the newest audio
-- features. An artist without tracks has one row of rank 0. The table is this run's own until it is checked.
CREATE TABLE {{ prefix() }}spotify.top_tracks_{{ run_id | slug }}
WITH (
  format = 'PARQUET',
  write_compression = 'SNAPPY',
  external_location = 's3://{{ var.value.windrow_s3_bucket }}/marts/spotify/top_tracks/run={{ run_id | slug }}/'
) AS
WITH newest_answers AS (
  SELECT artist_id, max(_fetched_at) AS fetched_at
  FROM {{ prefix() }}spotify_landed.top_tracks
  GROUP BY artist_id
),
artists AS (
  SELECT artist_id, name, popularity, followers, row_number() OVER (PARTITION BY artist_id ORDER BY _fetched_at DESC) AS age
  FROM {{ prefix() }}spotify_landed.artists
  WHERE is_known
),
features AS (
  SELECT track_id, tempo, energy, danceability, valence, row_number() OVER (PARTITION BY track_id ORDER BY _fetched_at DESC) AS age
  FROM {{ prefix() }}spotify_landed.audio_features
),
tracks AS (
  SELECT landed.*, row_number() OVER (PARTITION BY landed.artist_id, landed.rank ORDER BY landed.run DESC) AS age
  FROM {{ prefix() }}spotify_landed.top_tracks AS landed
  INNER JOIN newest_answers
    ON newest_answers.artist_id = landed.artist_id AND newest_answers.fetched_at = landed._fetched_at
)
SELECT
  tracks.artist_id,
  coalesce(artists.name, tracks.artist_name) AS artist_name,
  artists.popularity AS artist_popularity,
  artists.followers AS artist_followers,
  tracks.rank,
  tracks.ranked_by,
  tracks.track_id,
  tracks.name AS track_name,
  tracks.album_name,
  tracks.released_on,
  tracks.duration_ms,
  tracks.explicit,
  tracks.popularity,
  features.tempo,
  features.energy,
  features.danceability,
  features.valence,
  tracks._fetched_at AS fetched_at,
  tracks._run_id AS run_id
FROM tracks
LEFT JOIN artists ON artists.artist_id = tracks.artist_id AND artists.age = 1
LEFT JOIN features ON features.track_id = tracks.track_id AND features.age = 1
WHERE tracks.age = 1
