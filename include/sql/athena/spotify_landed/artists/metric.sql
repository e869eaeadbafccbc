-- The metric that two warehouses have to agree on, of the artists that one run landed: how many there are, how many
-- followers they have, and how popular they are on average.
SELECT
  is_known,
  count(artist_id) AS artists,
  sum(followers) AS followers,
  round(avg(popularity), 6) AS mean_popularity
FROM {{ prefix() }}spotify_landed.artists
WHERE dt = '{{ ti.xcom_pull(task_ids="locate_landing")["dt"] }}' AND run = '{{ ti.xcom_pull(task_ids="locate_landing")["run"] }}'
GROUP BY is_known
ORDER BY is_known
