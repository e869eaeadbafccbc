-- What the warehouse holds of one run's landing of videos; how many of them are listed and have vanished; and how many
-- videos of this channel, known from runs before, are not even listed any more.
WITH landed AS (
  SELECT * FROM `{{ prefix() }}windrow_landing.youtube_videos_{{ run_id | slug }}`
)
SELECT
  (SELECT COUNT(*) FROM landed) AS loaded,
  (
    SELECT COUNT(*)
    FROM landed
    INNER JOIN {{ prefix() }}youtube.videos AS final
      ON final.video_id = landed.video_id AND final._fetched_at >= landed._fetched_at
  ) AS merged,
  (SELECT COUNT(*) FROM {{ prefix() }}youtube.videos) AS total,
  (SELECT COUNTIF(NOT available) FROM landed) AS vanished,
  (
    SELECT COUNT(*)
    FROM {{ prefix() }}youtube.videos
    WHERE
      channel_id IN (SELECT channel_id FROM landed)
      AND _fetched_at < (SELECT MIN(_fetched_at) FROM landed)
  ) AS no_longer_listed
