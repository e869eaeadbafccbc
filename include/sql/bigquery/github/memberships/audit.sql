-- Before the merge, on the landing table: each column of the one row must be true.
SELECT
  COUNT(*) > 0 AS has_rows,
  LOGICAL_AND(list IN ('contributors', 'stargazers', 'forks')) AS list_is_known,
  LOGICAL_AND((user_id IS NOT NULL) = STARTS_WITH(member_key, 'u')) AS keys_have_the_user,
  LOGICAL_AND((since IS NULL) = (list = 'contributors')) AS stars_and_forks_say_when,
  LOGICAL_AND(list != 'contributors' OR contributions > 0) AS contributors_have_contributed,
  COUNT(DISTINCT repository_id) = COUNT(DISTINCT repository) AS one_name_a_repository
FROM `{{ prefix() }}windrow_landing.github_memberships_{{ run_id | slug }}`
