-- What the warehouse holds of one run's landing of days; how many days each video should have and has; and the last
-- day that came, from which the next run goes on.
WITH landed AS (
  SELECT * FROM `{{ prefix() }}windrow_landing.youtube_video_days_{{ run_id | slug }}`
),

held AS (
  SELECT video_id, expected_days, returned_days FROM {{ prefix() }}youtube.coverage WHERE run_id = '{{ run_id }}'
)

SELECT
  (SELECT COUNT(*) FROM landed) AS loaded,
  (
    SELECT COUNT(*)
    FROM landed
    INNER JOIN {{ prefix() }}youtube.video_days AS final
      ON
        final.video_id = landed.video_id
        AND final.day = landed.day
        AND final._fetched_at >= landed._fetched_at
  ) AS merged,
  (SELECT COUNT(*) FROM {{ prefix() }}youtube.video_days) AS total,
  (SELECT COUNT(*) FROM held) AS videos,
  (SELECT SUM(expected_days) FROM held) AS expected_days,
  (SELECT SUM(returned_days) FROM held) AS returned_days,
  (SELECT COUNTIF(returned_days < expected_days) FROM held) AS videos_with_missing_days,
  (
    SELECT
      STRING_AGG(
        FORMAT('%s %d of %d', video_id, returned_days, expected_days), '; '
        ORDER BY expected_days - returned_days DESC, video_id LIMIT 10
      )
    FROM held
    WHERE returned_days < expected_days
  ) AS most_missing,
  (SELECT CAST(MAX(day) AS STRING) FROM landed) AS watermark
