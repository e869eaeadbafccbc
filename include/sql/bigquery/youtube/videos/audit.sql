-- Before the merge, on the landing table: each column of the one row must be true.
SELECT
  COUNT(*) > 0 AS has_rows,
  COUNT(*) = COUNT(DISTINCT video_id) AS one_row_a_video,
  LOGICAL_AND(NOT available OR (channel_id IS NOT NULL AND published_at IS NOT NULL)) AS what_is_there_is_whole
FROM `{{ prefix() }}windrow_landing.youtube_videos_{{ run_id | slug }}`
