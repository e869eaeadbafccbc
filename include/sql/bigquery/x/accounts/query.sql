-- Mart: the hundred accounts of the last day that posted most. Deleted posts and replaced versions do not count.
CREATE OR REPLACE TABLE x.accounts
OPTIONS (description = 'The hundred accounts that posted most in the last day.')
AS
SELECT
  author_id,
  COALESCE(MAX(username), author_id) AS account,
  COUNT(*) AS posts,
  COUNTIF(repost_of IS NOT NULL) AS reposts
FROM x.posts
WHERE author_id IS NOT NULL
  AND deleted_at IS NULL
  AND created_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 DAY)
  AND post_id NOT IN (
    SELECT edit_of
    FROM x.posts
    WHERE edit_of IS NOT NULL
      AND created_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 DAY)  -- a version is newer than what it replaces
  )
GROUP BY author_id
ORDER BY posts DESC, author_id
LIMIT 100
