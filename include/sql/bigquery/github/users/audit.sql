-- Before the merge, on the landing table: each column of the one row must be true. A user may be there more than once,
-- by GraphQL.
SELECT
  COUNT(*) > 0 AS has_rows,
  LOGICAL_AND(user_id > 0) AS users_have_numbers,
  LOGICAL_AND(login != '') AS users_have_logins,
  COUNTIF(STARTS_WITH(_key, 'user/') AND _key != CONCAT('user/', CAST(user_id AS STRING))) = 0 AS answers_what_was_asked
FROM `{{ prefix() }}windrow_landing.github_users_{{ run_id | slug }}`
