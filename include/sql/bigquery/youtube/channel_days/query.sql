-- Mart: a channel on a day. It is made whole each time, so it is partitioned by month: BigQuery writes no more than
-- 4,000 partitions in a job, and YouTube is older than so many days.
CREATE OR REPLACE TABLE {{ prefix() }}youtube.channel_days
PARTITION BY DATE_TRUNC(day, MONTH)
CLUSTER BY channel_id
OPTIONS (description = 'Figures of a channel on a day.')
AS
SELECT
  listed.channel_id,
  days.day,
  COUNT(*) AS videos,
  SUM(days.views) AS views,
  SUM(days.engaged_views) AS engaged_views,
  SUM(days.minutes_watched) AS minutes_watched,
  SUM(days.likes) AS likes,
  SUM(days.comments) AS comments,
  SUM(days.shares) AS shares,
  SUM(days.subscribers_gained) - SUM(days.subscribers_lost) AS subscribers,
  MAX(days._fetched_at) AS fetched_at
FROM {{ prefix() }}youtube.video_days AS days
LEFT JOIN {{ prefix() }}youtube.videos AS listed ON days.video_id = listed.video_id
GROUP BY listed.channel_id, days.day
