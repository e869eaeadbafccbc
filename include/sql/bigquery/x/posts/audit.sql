-- Before the merge, on the landing table: each column of the one row must be true. The same post may be there
-- twice, as the queue delivers at least once; a post without a text must be a notice that it is deleted or withheld.
SELECT
  COUNT(*) > 0 AS has_rows,
  LOGICAL_AND(text IS NOT NULL OR deleted_at IS NOT NULL OR withheld_in IS NOT NULL) AS only_notices_lack_a_text,
  LOGICAL_AND(created_at > TIMESTAMP '2010-11-04' AND created_at < TIMESTAMP_ADD(_fetched_at, INTERVAL 1 HOUR))
    AS no_post_is_of_the_future
FROM `{{ prefix() }}windrow_landing.x_posts_{{ run_id | slug }}`
