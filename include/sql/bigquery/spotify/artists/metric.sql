-- The metric of include/sql/athena/spotify_landed/artists/metric.sql, of the same files.
SELECT
  is_known,
  COUNT(artist_id) AS artists,
  SUM(followers) AS followers,
  ROUND(AVG(popularity), 6) AS mean_popularity
FROM `{{ prefix() }}windrow_landing.spotify_artists_{{ run_id | slug }}`
GROUP BY is_known
ORDER BY is_known
