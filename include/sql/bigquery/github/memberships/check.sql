-- After the merges, on the final tables: each column of the one row must be true.
SELECT
  (SELECT COUNT(*) = COUNT(DISTINCT user_id) FROM {{ prefix() }}github.users) AS one_row_a_user,
  (
    SELECT COUNT(*) = COUNT(DISTINCT CONCAT(CAST(repository_id AS STRING), ' ', list, ' ', member_key))
    FROM {{ prefix() }}github.memberships
  ) AS one_row_a_member
