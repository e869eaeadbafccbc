-- After the merge: a video has a day once, and the figures of this run are not late. They come two to three days after
-- the day; later than five, something is wrong at YouTube or with us. It is asked against the days that this run asked
-- for, so it is true of an old range as of a new one.
SELECT
  (
    SELECT COUNT(*) = COUNT(DISTINCT CONCAT(video_id, ' ', CAST(day AS STRING))) FROM {{ prefix() }}youtube.video_days
  ) AS one_row_a_video_and_day,
  (
    SELECT MAX(day) >= DATE_SUB(DATE '{{ ti.xcom_pull('plan_days')['last'] }}', INTERVAL 5 DAY)
    FROM `{{ prefix() }}windrow_landing.youtube_video_days_{{ run_id | slug }}`
  ) AS figures_are_fresh
