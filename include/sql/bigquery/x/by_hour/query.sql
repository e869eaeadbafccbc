-- Mart: posts by hour and language, of the last thirty days. Deleted posts and replaced versions do not
-- count: of the versions of a post the last is taken, and dropped if it is deleted.
CREATE OR REPLACE TABLE {{ prefix() }}x.by_hour
OPTIONS (description = 'Posts by hour and language, of the last thirty days.')
AS
SELECT
  TIMESTAMP_TRUNC(created_at, HOUR) AS hour,
  COALESCE(lang, 'und') AS lang,
  COUNT(*) AS posts,
  COUNTIF(repost_of IS NOT NULL) AS reposts,
  COUNT(DISTINCT author_id) AS authors
FROM (
  SELECT *
  FROM {{ prefix() }}x.posts
  WHERE created_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 30 DAY)
  QUALIFY ROW_NUMBER() OVER (PARTITION BY COALESCE(first_version, post_id) ORDER BY created_at DESC, post_id DESC) = 1
)
WHERE text IS NOT NULL
GROUP BY hour, lang
