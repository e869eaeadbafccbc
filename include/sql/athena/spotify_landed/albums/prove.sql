-- What Athena holds of one run's albums: landed records, and answers from which nulls were dropped. They are read where
-- they landed, so all are merged.
SELECT
  (
    SELECT count(*) FROM {{ prefix() }}spotify_landed.albums
    WHERE dt = '{{ dag_run.run_after | ds }}' AND run = '{{ run_id | slug }}'
  ) AS loaded,
  (
    SELECT count(*) FROM {{ prefix() }}spotify_landed.albums
    WHERE dt = '{{ dag_run.run_after | ds }}' AND run = '{{ run_id | slug }}'
  ) AS merged,
  (
    SELECT count_if(_extra LIKE '%"dropped":%') FROM {{ prefix() }}spotify_landed.albums
    WHERE dt = '{{ dag_run.run_after | ds }}' AND run = '{{ run_id | slug }}'
  ) AS answers_with_nulls,
  (SELECT count(*) FROM {{ prefix() }}spotify_landed.albums) AS total
