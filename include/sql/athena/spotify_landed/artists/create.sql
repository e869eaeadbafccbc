-- Artists as they were landed, one row each a run.
-- Columns are those of windrow.sources.spotify.streams.Artists.contract; a test compares the two.
CREATE EXTERNAL TABLE IF NOT EXISTS {{ prefix() }}spotify_landed.artists (
  `artist_id` string COMMENT 'Id of the artist.',
  `is_known` boolean COMMENT 'False if the API no longer has the artist.',
  `name` string COMMENT 'Name of the artist.',
  `genres` string COMMENT 'Genres as a JSON array; deprecated by the API.',
  `popularity` bigint COMMENT '0 to 100; newer client ids do not get it.',
  `followers` bigint COMMENT 'Followers; newer client ids do not get it.',
  `_extra` string COMMENT 'Fields of the answer that are not in the contract, as JSON.',
  `_key` string COMMENT 'Key of the query that returned this record.',
  `_fetched_at` timestamp COMMENT 'When the answer arrived.',
  `_run_id` string COMMENT 'Airflow run that fetched it.'
)
COMMENT 'Artists as they were landed, one row each a run.'
PARTITIONED BY (dt string, run string)
STORED AS PARQUET
LOCATION 's3://{{ var.value.windrow_s3_bucket }}/spotify/artists/'
