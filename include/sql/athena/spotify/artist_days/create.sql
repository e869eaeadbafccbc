-- Popularity and followers of artists, one row an artist and day.
CREATE EXTERNAL TABLE IF NOT EXISTS {{ prefix() }}spotify.artist_days (
  artist_id string,
  artist_name string,
  is_known boolean,
  popularity bigint,
  followers bigint,
  fetched_at timestamp,
  run_id string
)
PARTITIONED BY (dt string)
STORED AS PARQUET
LOCATION 's3://{{ var.value.windrow_s3_bucket }}/marts/spotify/artist_days/'
