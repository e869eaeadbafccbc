-- Board: the figures at the top. No row while there is no post.
SELECT
  SUM(CASE WHEN hour >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 24 HOUR) THEN posts ELSE 0 END) AS posts_day,
  SUM(posts) AS posts_month,
  ROUND(SUM(reposts) / SUM(posts), 4) AS repost_share,
  COUNT(DISTINCT lang) AS languages,
  (SELECT MAX(created_at) FROM x.posts) AS newest
FROM x.by_hour
HAVING SUM(posts) > 0
