-- Mart: the hundred hashtags of the last day that most posts have. Deleted posts and replaced versions do not count.
CREATE OR REPLACE TABLE x.hashtags
OPTIONS (description = 'The hundred most used hashtags of the last day.')
AS
SELECT
  hashtag,
  COUNT(*) AS posts,
  COUNTIF(repost_of IS NOT NULL) AS reposts,
  COUNT(DISTINCT author_id) AS authors
FROM x.posts
CROSS JOIN UNNEST(SPLIT(hashtags, ' ')) AS hashtag
WHERE hashtags IS NOT NULL
  AND deleted_at IS NULL
  AND created_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 DAY)
  AND post_id NOT IN (
    SELECT edit_of
    FROM x.posts
    WHERE edit_of IS NOT NULL
      AND created_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 DAY)  -- a version is newer than what it replaces
  )
GROUP BY hashtag
ORDER BY posts DESC, hashtag
LIMIT 100
