-- Mart: the hundred hashtags of the last day that most posts have. Deleted posts and replaced versions do not
-- count: of the versions of a post the last is taken, and dropped if it is deleted.
CREATE OR REPLACE TABLE {{ prefix() }}x.hashtags
OPTIONS (description = 'The hundred most used hashtags of the last day.')
AS
SELECT
  hashtag,
  COUNT(*) AS posts,
  COUNTIF(repost_of IS NOT NULL) AS reposts,
  COUNT(DISTINCT author_id) AS authors
FROM (
  SELECT *
  FROM {{ prefix() }}x.posts
  WHERE created_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 DAY)
  QUALIFY ROW_NUMBER() OVER (PARTITION BY COALESCE(first_version, post_id) ORDER BY created_at DESC, post_id DESC) = 1
)
CROSS JOIN UNNEST(SPLIT(hashtags, ' ')) AS hashtag
WHERE hashtags IS NOT NULL
  AND text IS NOT NULL
GROUP BY hashtag
ORDER BY posts DESC, hashtag
LIMIT 100
