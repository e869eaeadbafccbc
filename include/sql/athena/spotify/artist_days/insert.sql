-- The day's artists, from all its runs the newest answer about each. The partition was emptied before.
INSERT INTO {{ prefix() }}spotify.artist_days
SELECT artist_id, name, is_known, popularity, followers, _fetched_at, _run_id, dt
FROM (
  SELECT
    artist_id, name, is_known, popularity, followers, _fetched_at, _run_id, dt,
    row_number() OVER (PARTITION BY artist_id ORDER BY _fetched_at DESC) AS age
  FROM {{ prefix() }}spotify_landed.artists
  WHERE dt = '{{ dag_run.run_after | ds }}'
) AS day
WHERE age = 1
