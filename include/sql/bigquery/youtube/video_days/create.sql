-- Figures of a video on a day, one row each: the last answer the API gave about them.
-- Columns are those of windrow.sources.youtube.streams.VideoDays.contract; a test compares the two.
CREATE TABLE IF NOT EXISTS youtube.video_days (
  video_id STRING NOT NULL OPTIONS (description = 'Id of the video.'),
  day DATE NOT NULL OPTIONS (description = 'Day in California.'),
  views INT64 NOT NULL OPTIONS (description = 'Views; since August 2026 every start of playback.'),
  engaged_views INT64 NOT NULL OPTIONS (description = 'Views by the older definition.'),
  minutes_watched INT64 NOT NULL OPTIONS (description = 'Minutes watched.'),
  mean_view_seconds INT64 OPTIONS (description = 'Mean length of a view, seconds.'),
  likes INT64 NOT NULL OPTIONS (description = 'Likes, minus removed ones.'),
  comments INT64 NOT NULL OPTIONS (description = 'Comments.'),
  shares INT64 NOT NULL OPTIONS (description = 'Shares.'),
  subscribers_gained INT64 NOT NULL OPTIONS (description = 'Subscribers gained.'),
  subscribers_lost INT64 NOT NULL OPTIONS (description = 'Subscribers lost.'),
  _extra STRING OPTIONS (description = 'Fields of the answer that are not in the contract, as JSON.'),
  _key STRING NOT NULL OPTIONS (description = 'Key of the query that returned this record.'),
  _fetched_at TIMESTAMP NOT NULL OPTIONS (description = 'When the answer arrived.'),
  _run_id STRING NOT NULL OPTIONS (description = 'Airflow run that fetched it.')
)
PARTITION BY day
CLUSTER BY video_id
OPTIONS (description = 'Figures of a video on a day, one row each.')
