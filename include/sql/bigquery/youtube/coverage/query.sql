-- How many days each listed video should have in this run, and how many it has. A video is expected on each day from
-- its publication to the last day that came for any video; YouTube leaves out days on which nothing happened, so a
-- difference is something to look at, and not a loss by itself. Rows of a run are replaced when it is done again.
CREATE TABLE IF NOT EXISTS {{ prefix() }}youtube.coverage (
  run_id STRING NOT NULL OPTIONS (description = 'Airflow run.'),
  video_id STRING NOT NULL OPTIONS (description = 'Id of the video.'),
  first_day DATE NOT NULL OPTIONS (description = 'First day that was expected.'),
  last_day DATE NOT NULL OPTIONS (description = 'Last day that was expected.'),
  expected_days INT64 NOT NULL OPTIONS (description = 'Days from the first to the last.'),
  returned_days INT64 NOT NULL OPTIONS (description = 'Days that came.')
)
CLUSTER BY run_id
OPTIONS (description = 'Expected and returned days of each video, by run.');

BEGIN TRANSACTION;

DELETE FROM {{ prefix() }}youtube.coverage WHERE run_id = '{{ run_id }}';

INSERT INTO {{ prefix() }}youtube.coverage (run_id, video_id, first_day, last_day, expected_days, returned_days)
WITH returned AS (
  SELECT video_id, COUNT(*) AS days
  FROM `{{ prefix() }}windrow_landing.youtube_video_days_{{ run_id | slug }}`
  GROUP BY video_id
),

expected AS (
  SELECT
    video_id,
    GREATEST(
      DATE '{{ ti.xcom_pull('plan_days')['first'] }}',
      -- of one that has vanished nothing is known; no video is older than YouTube
      COALESCE(DATE(published_at, 'America/Los_Angeles'), DATE '2005-02-14')
    ) AS first_day,
    (SELECT MAX(day) FROM `{{ prefix() }}windrow_landing.youtube_video_days_{{ run_id | slug }}`) AS last_day
  FROM `{{ prefix() }}windrow_landing.youtube_videos_{{ run_id | slug }}`
)

SELECT
  '{{ run_id }}',
  expected.video_id,
  expected.first_day,
  expected.last_day,
  GREATEST(DATE_DIFF(expected.last_day, expected.first_day, DAY) + 1, 0),
  COALESCE(returned.days, 0)
FROM expected
LEFT JOIN returned ON expected.video_id = returned.video_id;

COMMIT TRANSACTION;
