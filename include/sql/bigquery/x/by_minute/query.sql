-- Mart: posts by minute and language, of the last two days. Deleted posts and replaced versions do not
-- count: of the versions of a post the last is taken, and dropped if it is deleted.
CREATE OR REPLACE TABLE {{ prefix() }}x.by_minute
OPTIONS (description = 'Posts by minute and language, of the last two days.')
AS
SELECT
  TIMESTAMP_TRUNC(created_at, MINUTE) AS minute,
  COALESCE(lang, 'und') AS lang,
  COUNT(*) AS posts,
  COUNTIF(repost_of IS NOT NULL) AS reposts,
  COUNT(DISTINCT author_id) AS authors
FROM (
  SELECT *
  FROM {{ prefix() }}x.posts
  WHERE created_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 2 DAY)
  QUALIFY ROW_NUMBER() OVER (PARTITION BY COALESCE(first_version, post_id) ORDER BY created_at DESC, post_id DESC) = 1
)
WHERE text IS NOT NULL
GROUP BY minute, lang
