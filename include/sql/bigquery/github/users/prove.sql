-- What the warehouse holds of one run's landing of users: records, those of them that the final table has in this or
-- a newer version, and all records of the final table.
WITH landed AS (
  SELECT * FROM `{{ prefix() }}windrow_landing.github_users_{{ run_id | slug }}`
)
SELECT
  (SELECT COUNT(*) FROM landed) AS loaded,
  (
    SELECT COUNT(*)
    FROM landed
    INNER JOIN {{ prefix() }}github.users AS final
      ON final.user_id = landed.user_id AND final._fetched_at >= landed._fetched_at
  ) AS merged,
  (SELECT COUNT(*) FROM {{ prefix() }}github.users) AS total,
  (SELECT COUNT(DISTINCT user_id) FROM landed) AS users
