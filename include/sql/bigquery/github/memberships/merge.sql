-- The landed members of one run into the final table. A list that grows while it is read shows a member twice. Done
-- twice, it changes nothing; an older answer never replaces a newer one.
MERGE github.memberships AS final
USING (
  SELECT *
  FROM `windrow_landing.github_memberships_{{ run_id | slug }}`
  WHERE TRUE
  QUALIFY ROW_NUMBER() OVER (PARTITION BY repository_id, list, member_key ORDER BY _fetched_at DESC, _key) = 1
) AS landed
ON final.repository_id = landed.repository_id AND final.list = landed.list AND final.member_key = landed.member_key
WHEN MATCHED AND landed._fetched_at >= final._fetched_at THEN
  UPDATE SET
    repository = landed.repository,
    user_id = landed.user_id,
    login = landed.login,
    contributions = landed.contributions,
    since = landed.since,
    _extra = landed._extra,
    _key = landed._key,
    _fetched_at = landed._fetched_at,
    _run_id = landed._run_id
WHEN NOT MATCHED THEN
  INSERT (
    repository_id, repository, list, member_key, user_id, login, contributions, since, _extra, _key, _fetched_at,
    _run_id
  )
  VALUES (
    landed.repository_id, landed.repository, landed.list, landed.member_key, landed.user_id, landed.login,
    landed.contributions, landed.since, landed._extra, landed._key, landed._fetched_at, landed._run_id
  )
