-- What Athena holds of one run's artists: landed records; those of them that the history has, in this or a newer
-- version; and all records of the history.
SELECT
  (
    SELECT count(*) FROM {{ prefix() }}spotify_landed.artists
    WHERE dt = '{{ dag_run.run_after | ds }}' AND run = '{{ run_id | slug }}'
  ) AS loaded,
  (
    SELECT count(*)
    FROM {{ prefix() }}spotify_landed.artists AS landed
    INNER JOIN {{ prefix() }}spotify.artist_days AS kept
      ON kept.artist_id = landed.artist_id AND kept.dt = landed.dt AND kept.fetched_at >= landed._fetched_at
    WHERE landed.dt = '{{ dag_run.run_after | ds }}' AND landed.run = '{{ run_id | slug }}'
  ) AS merged,
  (SELECT count(*) FROM {{ prefix() }}spotify.artist_days) AS total
