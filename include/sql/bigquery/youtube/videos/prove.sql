-- What the warehouse holds of one run's landing of videos, and how many of them have vanished.
WITH landed AS (
  SELECT * FROM `windrow_landing.youtube_videos_{{ run_id | slug }}`
)
SELECT
  (SELECT COUNT(*) FROM landed) AS loaded,
  (
    SELECT COUNT(*)
    FROM landed
    INNER JOIN youtube.videos AS final
      ON final.video_id = landed.video_id AND final._fetched_at >= landed._fetched_at
  ) AS merged,
  (SELECT COUNT(*) FROM youtube.videos) AS total,
  (SELECT COUNTIF(NOT available) FROM landed) AS vanished
