-- What Athena holds of one run's audio features: landed records. They are read where they landed, so all are merged.
SELECT
  (
    SELECT count(*) FROM {{ prefix() }}spotify_landed.audio_features
    WHERE dt = '{{ dag_run.run_after | ds }}' AND run = '{{ run_id | slug }}'
  ) AS loaded,
  (
    SELECT count(*) FROM {{ prefix() }}spotify_landed.audio_features
    WHERE dt = '{{ dag_run.run_after | ds }}' AND run = '{{ run_id | slug }}'
  ) AS merged,
  (SELECT count(*) FROM {{ prefix() }}spotify_landed.audio_features) AS total
