-- What the warehouse holds of one run's landing of members: records, those of them that the final table has in this
-- or a newer version, and all records of the final table.
WITH landed AS (
  SELECT * FROM `{{ prefix() }}windrow_landing.github_memberships_{{ run_id | slug }}`
)
SELECT
  (SELECT COUNT(*) FROM landed) AS loaded,
  (
    SELECT COUNT(*)
    FROM landed
    INNER JOIN {{ prefix() }}github.memberships AS final
      ON final.repository_id = landed.repository_id
      AND final.list = landed.list
      AND final.member_key = landed.member_key
      AND final._fetched_at >= landed._fetched_at
  ) AS merged,
  (SELECT COUNT(*) FROM {{ prefix() }}github.memberships) AS total,
  (SELECT COUNT(DISTINCT repository_id) FROM landed) AS repositories,
  (SELECT COUNTIF(user_id IS NULL) FROM landed) AS anonymous
