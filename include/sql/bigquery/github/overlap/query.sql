-- Mart: how many members the lists of two repositories share. Members are those that the last run found.
CREATE OR REPLACE TABLE {{ prefix() }}github.overlap
OPTIONS (description = 'Members that the same list of two repositories has in common.')
AS
WITH members AS (
  SELECT *
  FROM {{ prefix() }}github.memberships
  WHERE user_id IS NOT NULL
  QUALIFY _run_id = FIRST_VALUE(_run_id) OVER (PARTITION BY repository_id, list ORDER BY _fetched_at DESC, _run_id)
),

sizes AS (
  SELECT repository_id, list, COUNT(DISTINCT user_id) AS members
  FROM members
  GROUP BY repository_id, list
),

pairs AS (
  SELECT
    one.list,
    one.repository_id AS one_id,
    other.repository_id AS other_id,
    MAX(one.repository) AS repository,
    MAX(other.repository) AS other_repository,
    COUNT(DISTINCT one.user_id) AS shared
  FROM members AS one
  INNER JOIN members AS other
    ON one.user_id = other.user_id AND one.list = other.list AND one.repository < other.repository
  GROUP BY one.list, one.repository_id, other.repository_id
)

SELECT
  pairs.list,
  pairs.repository,
  pairs.other_repository,
  pairs.shared,
  ROUND(pairs.shared / (size.members + other_size.members - pairs.shared), 4) AS share_of_both
FROM pairs
INNER JOIN sizes AS size
  ON size.repository_id = pairs.one_id AND size.list = pairs.list
INNER JOIN sizes AS other_size
  ON other_size.repository_id = pairs.other_id AND other_size.list = pairs.list
ORDER BY pairs.list, pairs.shared DESC
