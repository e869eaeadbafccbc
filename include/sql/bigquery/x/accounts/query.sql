-- Mart: the hundred accounts of the last day that posted most. Deleted posts and replaced versions do not
-- count: of the versions of a post the last is taken, and dropped if it is deleted.
CREATE OR REPLACE TABLE {{ prefix() }}x.accounts
OPTIONS (description = 'The hundred accounts that posted most in the last day.')
AS
SELECT
  author_id,
  COALESCE(MAX(username), author_id) AS account,
  COUNT(*) AS posts,
  COUNTIF(repost_of IS NOT NULL) AS reposts
FROM (
  SELECT *
  FROM {{ prefix() }}x.posts
  WHERE created_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 DAY)
  QUALIFY ROW_NUMBER() OVER (PARTITION BY COALESCE(first_version, post_id) ORDER BY created_at DESC, post_id DESC) = 1
)
WHERE author_id IS NOT NULL
  AND text IS NOT NULL
GROUP BY author_id
ORDER BY posts DESC, author_id
LIMIT 100
