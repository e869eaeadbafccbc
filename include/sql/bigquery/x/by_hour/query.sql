-- Mart: posts by hour and language, of the last thirty days. Deleted posts and replaced versions do not count.
CREATE OR REPLACE TABLE x.by_hour
OPTIONS (description = 'Posts by hour and language, of the last thirty days.')
AS
SELECT
  TIMESTAMP_TRUNC(created_at, HOUR) AS hour,
  COALESCE(lang, 'und') AS lang,
  COUNT(*) AS posts,
  COUNTIF(repost_of IS NOT NULL) AS reposts,
  COUNT(DISTINCT author_id) AS authors
FROM x.posts
WHERE deleted_at IS NULL
  AND created_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 30 DAY)
  AND post_id NOT IN (
    SELECT edit_of
    FROM x.posts
    WHERE edit_of IS NOT NULL
      AND created_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 30 DAY)  -- a version is newer than what it replaces
  )
GROUP BY hour, lang
