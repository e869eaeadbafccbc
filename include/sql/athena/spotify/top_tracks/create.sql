-- Top tracks as the chatbot and the analysts read them. Its location is moved to each new build as a whole.
CREATE EXTERNAL TABLE IF NOT EXISTS {{ prefix() }}spotify.top_tracks (
  artist_id string,
  artist_name string,
  artist_popularity bigint,
  artist_followers bigint,
  rank bigint,
  ranked_by string,
  track_id string,
  track_name string,
  album_name string,
  released_on string,
  duration_ms bigint,
  explicit boolean,
  popularity bigint,
  tempo double,
  energy double,
  danceability double,
  valence double,
  fetched_at timestamp,
  run_id string
)
STORED AS PARQUET
LOCATION 's3://{{ var.value.windrow_s3_bucket }}/marts/spotify/top_tracks/none/'
