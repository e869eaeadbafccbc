-- Board: the figures at the top. No row while there is no post. The newest post is looked for among the last two days
-- only, as a board asks often, and that is two partitions; what is older counts by its hour.
SELECT
  SUM(posts_day) AS posts_day,
  SUM(posts) AS posts_month,
  ROUND(SUM(reposts_day) / NULLIF(SUM(posts_day), 0), 4) AS repost_share,
  COUNT(DISTINCT CASE WHEN posts_day > 0 AND lang <> 'und' THEN lang END) AS languages,
  COALESCE(
    (SELECT MAX(created_at) FROM {{ prefix() }}x.posts WHERE created_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 2 DAY)),
    MAX(hour)
  ) AS newest
FROM (
  SELECT
    hour, lang, posts,
    CASE WHEN hour >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 24 HOUR) THEN posts ELSE 0 END AS posts_day,
    CASE WHEN hour >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 24 HOUR) THEN reposts ELSE 0 END AS reposts_day
  FROM {{ prefix() }}x.by_hour
)
HAVING SUM(posts) > 0
