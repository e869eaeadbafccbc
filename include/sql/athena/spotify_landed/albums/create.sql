-- Albums of artists as they were landed, one row each a run.
-- Columns are those of windrow.sources.spotify.streams.Albums.contract; a test compares the two.
CREATE EXTERNAL TABLE IF NOT EXISTS {{ prefix() }}spotify_landed.albums (
  `artist_id` string COMMENT 'Id of the requested artist.',
  `album_id` string COMMENT 'Id of the album.',
  `name` string COMMENT 'Name of the album.',
  `album_type` string COMMENT 'album, single or compilation.',
  `album_group` string COMMENT 'How it belongs to the artist; newer client ids do not get it.',
  `released_on` string COMMENT 'Day, month or year of the release, as far as known.',
  `tracks` bigint COMMENT 'Number of tracks.',
  `_extra` string COMMENT 'Fields of the answer that are not in the contract, as JSON.',
  `_key` string COMMENT 'Key of the query that returned this record.',
  `_fetched_at` timestamp COMMENT 'When the answer arrived.',
  `_run_id` string COMMENT 'Airflow run that fetched it.'
)
COMMENT 'Albums of artists as they were landed, one row each a run.'
PARTITIONED BY (dt string, run string)
STORED AS PARQUET
LOCATION 's3://{{ var.value.windrow_s3_bucket }}/spotify/albums/'
