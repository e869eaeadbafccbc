-- What Athena holds of one run's top tracks: landed records, and answers from which nulls were dropped. They become the
-- table spotify.top_tracks with the next daily run; until then they are read where they landed, so all are merged.
SELECT
  (
    SELECT count(*) FROM {{ prefix() }}spotify_landed.top_tracks
    WHERE dt = '{{ dag_run.run_after | ds }}' AND run = '{{ run_id | slug }}'
  ) AS loaded,
  (
    SELECT count(*) FROM {{ prefix() }}spotify_landed.top_tracks
    WHERE dt = '{{ dag_run.run_after | ds }}' AND run = '{{ run_id | slug }}'
  ) AS merged,
  (
    SELECT count_if(_extra LIKE '%"dropped":%') FROM {{ prefix() }}spotify_landed.top_tracks
    WHERE dt = '{{ dag_run.run_after | ds }}' AND run = '{{ run_id | slug }}'
  ) AS answers_with_nulls,
  (SELECT count(*) FROM {{ prefix() }}spotify_landed.top_tracks) AS total
