-- Top tracks of artists as they were landed, one row each a run.
-- Columns are those of windrow.sources.spotify.streams.TopTracks.contract; a test compares the two.
CREATE EXTERNAL TABLE IF NOT EXISTS spotify_landed.top_tracks (
  `artist_id` string COMMENT 'Id of the artist that was asked for.',
  `rank` bigint COMMENT '1 for the first track; 0 where there is none.',
  `ranked_by` string COMMENT 'top_tracks, or newest_album where these are not told.',
  `track_id` string COMMENT 'Id of the track.',
  `name` string COMMENT 'Name of the track.',
  `artist_name` string COMMENT 'Name of the artist, as the track has it.',
  `album_id` string COMMENT 'Id of its album.',
  `album_name` string COMMENT 'Name of its album.',
  `released_on` string COMMENT 'Day, month or year when its album came out.',
  `duration_ms` bigint COMMENT 'Length in milliseconds.',
  `explicit` boolean COMMENT 'Whether its words are marked as explicit.',
  `popularity` bigint COMMENT '0 to 100; not told to newer client ids.',
  `_extra` string COMMENT 'Fields of the answer that are not in the contract, as JSON.',
  `_key` string COMMENT 'Key of the query that returned this record.',
  `_fetched_at` timestamp COMMENT 'When the answer arrived.',
  `_run_id` string COMMENT 'Airflow run that fetched it.'
)
COMMENT 'Top tracks of artists as they were landed, one row each a run.'
PARTITIONED BY (dt string, run string)
STORED AS PARQUET
LOCATION 's3://{{ var.value.windrow_s3_bucket }}/spotify/top_tracks/'
