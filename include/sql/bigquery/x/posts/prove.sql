-- What the warehouse holds of one run's landing: records in the landing table, posts among them, those of the posts
-- that the final table has in this or a newer version, and all posts of the final table.
SELECT
  (SELECT COUNT(*) FROM `{{ prefix() }}windrow_landing.x_posts_{{ run_id | slug }}`) AS loaded,
  (SELECT COUNT(DISTINCT post_id) FROM `{{ prefix() }}windrow_landing.x_posts_{{ run_id | slug }}`) AS `distinct`,
  (
    SELECT COUNT(DISTINCT landed.post_id)
    FROM `{{ prefix() }}windrow_landing.x_posts_{{ run_id | slug }}` AS landed
    INNER JOIN {{ prefix() }}x.posts AS final
      ON final.post_id = landed.post_id
      AND (
        final._fetched_at >= landed._fetched_at
        OR final.deleted_at IS NOT NULL
        OR (landed.text IS NULL AND landed.deleted_at IS NULL AND final.withheld_in IS NOT NULL)
      )
  ) AS merged,
  (SELECT COUNT(*) FROM {{ prefix() }}x.posts) AS total
