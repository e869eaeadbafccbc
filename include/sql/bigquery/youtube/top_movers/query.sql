-- Mart: the 20 videos whose views changed most between the last seven days there are and the seven before.
CREATE OR REPLACE TABLE {{ prefix() }}youtube.top_movers
OPTIONS (description = 'Videos whose views changed most in a week.')
AS
WITH bounds AS (
  SELECT MAX(day) AS last_day FROM {{ prefix() }}youtube.video_days
),

weeks AS (
  SELECT
    days.video_id,
    SUM(IF(days.day > DATE_SUB(bounds.last_day, INTERVAL 7 DAY), days.views, 0)) AS views,
    SUM(IF(days.day <= DATE_SUB(bounds.last_day, INTERVAL 7 DAY), days.views, 0)) AS views_before,
    MAX(bounds.last_day) AS week_to
  FROM {{ prefix() }}youtube.video_days AS days
  CROSS JOIN bounds
  WHERE days.day > DATE_SUB(bounds.last_day, INTERVAL 14 DAY)
  GROUP BY days.video_id
)

SELECT
  weeks.week_to,
  ROW_NUMBER() OVER (ORDER BY ABS(weeks.views - weeks.views_before) DESC, weeks.video_id) AS place,
  weeks.video_id,
  videos.title,
  weeks.views,
  weeks.views_before,
  weeks.views - weeks.views_before AS change,
  ROUND(SAFE_DIVIDE(weeks.views - weeks.views_before, weeks.views_before), 3) AS change_rate
FROM weeks
LEFT JOIN {{ prefix() }}youtube.videos AS videos ON weeks.video_id = videos.video_id
ORDER BY place
LIMIT 20
