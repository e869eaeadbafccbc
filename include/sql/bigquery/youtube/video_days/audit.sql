-- Before the merge, on the landing table: each column of the one row must be true.
SELECT
  COUNT(*) > 0 AS has_rows,
  COUNT(*) = COUNT(DISTINCT CONCAT(video_id, ' ', CAST(day AS STRING))) AS one_row_a_video_and_day,
  LOGICAL_AND(views >= 0 AND engaged_views >= 0 AND minutes_watched >= 0) AS nothing_is_negative,
  LOGICAL_AND(engaged_views <= views) AS engaged_views_are_views,
  MAX(day) < CURRENT_DATE('America/Los_Angeles') AS days_have_ended
FROM `{{ prefix() }}windrow_landing.youtube_video_days_{{ run_id | slug }}`
