-- Mart: the life of a video. Age is in days since its publication, days being those of California. The share is of all
-- views that the table has of the video: of its whole life so far, once a backfill has gone back to its first day.
CREATE OR REPLACE TABLE {{ prefix() }}youtube.lifetime_curve
CLUSTER BY video_id
OPTIONS (description = 'Views of a video by its age.')
AS
SELECT
  days.video_id,
  videos.title,
  DATE_DIFF(days.day, DATE(videos.published_at, 'America/Los_Angeles'), DAY) AS age_days,
  days.views,
  SUM(days.views) OVER (PARTITION BY days.video_id ORDER BY days.day) AS views_so_far,
  ROUND(
    SAFE_DIVIDE(
      SUM(days.views) OVER (PARTITION BY days.video_id ORDER BY days.day),
      SUM(days.views) OVER (PARTITION BY days.video_id)
    ), 4
  ) AS share_so_far
FROM {{ prefix() }}youtube.video_days AS days
INNER JOIN {{ prefix() }}youtube.videos AS videos ON days.video_id = videos.video_id
WHERE videos.published_at IS NOT NULL
