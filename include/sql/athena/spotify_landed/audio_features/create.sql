-- Audio features of tracks as they were landed, one row each a run.
-- Columns are those of windrow.sources.spotify.streams.AudioFeatures.contract; a test compares the two.
CREATE EXTERNAL TABLE IF NOT EXISTS {{ prefix() }}spotify_landed.audio_features (
  `track_id` string COMMENT 'Id of the track.',
  `tempo` double COMMENT 'Beats per minute.',
  `energy` double COMMENT '0 to 1.',
  `danceability` double COMMENT '0 to 1.',
  `valence` double COMMENT '0 (sad) to 1 (happy).',
  `acousticness` double COMMENT '0 to 1.',
  `instrumentalness` double COMMENT '0 to 1.',
  `speechiness` double COMMENT '0 to 1.',
  `liveness` double COMMENT '0 to 1.',
  `loudness` double COMMENT 'Decibels, below 0.',
  `key` bigint COMMENT '0 for C, 1 for C sharp, ...; -1 if none was found.',
  `mode` bigint COMMENT '1 for major, 0 for minor.',
  `time_signature` bigint COMMENT 'Beats per bar.',
  `_extra` string COMMENT 'Fields of the answer that are not in the contract, as JSON.',
  `_key` string COMMENT 'Key of the query that returned this record.',
  `_fetched_at` timestamp COMMENT 'When the answer arrived.',
  `_run_id` string COMMENT 'Airflow run that fetched it.'
)
COMMENT 'Audio features of tracks as they were landed, one row each a run.'
PARTITIONED BY (dt string, run string)
STORED AS PARQUET
LOCATION 's3://{{ var.value.windrow_s3_bucket }}/spotify/audio_features/'
