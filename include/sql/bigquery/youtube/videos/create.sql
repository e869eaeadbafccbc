-- Videos, one row each: as the last run found them. YouTube's terms want them read again within 30 days, or deleted.
-- Columns are those of windrow.sources.youtube.streams.Videos.contract; a test compares the two.
CREATE TABLE IF NOT EXISTS youtube.videos (
  video_id STRING NOT NULL OPTIONS (description = 'Id of the video.'),
  available BOOL NOT NULL OPTIONS (description = 'False if it is listed, but was deleted or is private.'),
  channel_id STRING OPTIONS (description = 'Id of the channel.'),
  title STRING OPTIONS (description = 'Title of the video.'),
  published_at TIMESTAMP OPTIONS (description = 'When it was published.'),
  duration STRING OPTIONS (description = 'Length, in the notation of ISO 8601.'),
  view_count INT64 OPTIONS (description = 'Views so far; null if hidden.'),
  like_count INT64 OPTIONS (description = 'Likes so far; null if hidden.'),
  comment_count INT64 OPTIONS (description = 'Comments so far; null if hidden.'),
  _extra STRING OPTIONS (description = 'Fields of the answer that are not in the contract, as JSON.'),
  _key STRING NOT NULL OPTIONS (description = 'Key of the query that returned this record.'),
  _fetched_at TIMESTAMP NOT NULL OPTIONS (description = 'When the answer arrived.'),
  _run_id STRING NOT NULL OPTIONS (description = 'Airflow run that fetched it.')
)
CLUSTER BY channel_id
OPTIONS (description = 'Videos, one row each.')
