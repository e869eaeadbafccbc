-- What Athena has of one run's top tracks: landed records; those of them whose artist the final table has, in this or
-- a newer version; answers from which nulls were dropped; and all records of the final table.
SELECT
  (
    SELECT count(*) FROM {{ prefix() }}spotify_landed.top_tracks
    WHERE dt = '{{ dag_run.run_after | ds }}' AND run = '{{ run_id | slug }}'
  ) AS loaded,
  (
    SELECT count(*)
    FROM {{ prefix() }}spotify_landed.top_tracks AS landed
    INNER JOIN (SELECT DISTINCT artist_id, fetched_at FROM {{ prefix() }}spotify.top_tracks) AS kept
      ON kept.artist_id = landed.artist_id AND kept.fetched_at >= landed._fetched_at
    WHERE landed.dt = '{{ dag_run.run_after | ds }}' AND landed.run = '{{ run_id | slug }}'
  ) AS merged,
  (
    SELECT count_if(_extra LIKE '%"dropped":%') FROM {{ prefix() }}spotify_landed.top_tracks
    WHERE dt = '{{ dag_run.run_after | ds }}' AND run = '{{ run_id | slug }}'
  ) AS answers_with_nulls,
  (SELECT count(*) FROM {{ prefix() }}spotify.top_tracks) AS total
