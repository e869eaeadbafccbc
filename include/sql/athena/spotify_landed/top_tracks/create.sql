-- Top tracks of artists as they were landed, one row each a run.
-- Columns are those of windrow.sources.spotify.streams.TopTracks.contract; a test compares the two.
CREATE EXTERNAL TABLE IF NOT EXISTS {{ prefix() }}spotify_landed.top_tracks (
  `artist_id` string COMMENT 'Id of the requested artist.',
  `rank` bigint COMMENT '1 for the first track; 0 if there is none.',
  `ranked_by` string COMMENT 'top_tracks, or newest_album if the client id does not get these.',
  `track_id` string COMMENT 'Id of the track.',
  `name` string COMMENT 'Name of the track.',
  `artist_name` string COMMENT 'Name of the artist in the track.',
  `album_id` string COMMENT 'Id of its album.',
  `album_name` string COMMENT 'Name of its album.',
  `released_on` string COMMENT 'Day, month or year of the release of its album.',
  `duration_ms` bigint COMMENT 'Length in milliseconds.',
  `explicit` boolean COMMENT 'Whether its lyrics are marked as explicit.',
  `popularity` bigint COMMENT '0 to 100; newer client ids do not get it.',
  `_extra` string COMMENT 'Fields of the answer that are not in the contract, as JSON.',
  `_key` string COMMENT 'Key of the query that returned this record.',
  `_fetched_at` timestamp COMMENT 'When the answer arrived.',
  `_run_id` string COMMENT 'Airflow run that fetched it.'
)
COMMENT 'Top tracks of artists as they were landed, one row each a run.'
PARTITIONED BY (dt string, run string)
STORED AS PARQUET
LOCATION 's3://{{ var.value.windrow_s3_bucket }}/spotify/top_tracks/'
