-- What Athena holds of one run's albums: landed records. They are read where they landed, so all are merged.
SELECT
  (
    SELECT count(*) FROM spotify_landed.albums
    WHERE dt = '{{ dag_run.run_after | ds }}' AND run = '{{ run_id | slug }}'
  ) AS loaded,
  (
    SELECT count(*) FROM spotify_landed.albums
    WHERE dt = '{{ dag_run.run_after | ds }}' AND run = '{{ run_id | slug }}'
  ) AS merged,
  (
    SELECT coalesce(sum(CAST(json_extract_scalar(_extra, '$.dropped') AS bigint)), 0) FROM spotify_landed.albums
    WHERE dt = '{{ dag_run.run_after | ds }}' AND run = '{{ run_id | slug }}'
  ) AS null_elements,
  (SELECT count(*) FROM spotify_landed.albums) AS total
