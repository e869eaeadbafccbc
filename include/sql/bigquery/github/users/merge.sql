-- The landed users of one run into the final table. A user may be landed more than once, by GraphQL on the pages of
-- several repositories; GraphQL tells no counts, and those that are known stay. Done twice, it changes nothing; an
-- older answer never replaces a newer one.
MERGE github.users AS final
USING (
  SELECT *
  FROM `windrow_landing.github_users_{{ run_id | slug }}`
  WHERE TRUE
  QUALIFY ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY _fetched_at DESC, _key) = 1
) AS landed
ON final.user_id = landed.user_id
WHEN MATCHED AND landed._fetched_at >= final._fetched_at THEN
  UPDATE SET
    login = landed.login,
    type = landed.type,
    name = landed.name,
    company = landed.company,
    blog = landed.blog,
    location = landed.location,
    email = landed.email,
    hireable = landed.hireable,
    bio = landed.bio,
    twitter_username = landed.twitter_username,
    site_admin = landed.site_admin,
    public_repos = COALESCE(landed.public_repos, final.public_repos),
    public_gists = COALESCE(landed.public_gists, final.public_gists),
    followers = COALESCE(landed.followers, final.followers),
    following = COALESCE(landed.following, final.following),
    created_at = landed.created_at,
    updated_at = landed.updated_at,
    _extra = landed._extra,
    _key = landed._key,
    _fetched_at = landed._fetched_at,
    _run_id = landed._run_id
WHEN NOT MATCHED THEN
  INSERT (
    user_id, login, type, name, company, blog, location, email, hireable, bio, twitter_username, site_admin,
    public_repos, public_gists, followers, following, created_at, updated_at, _extra, _key, _fetched_at, _run_id
  )
  VALUES (
    landed.user_id, landed.login, landed.type, landed.name, landed.company, landed.blog, landed.location,
    landed.email, landed.hireable, landed.bio, landed.twitter_username, landed.site_admin, landed.public_repos,
    landed.public_gists, landed.followers, landed.following, landed.created_at, landed.updated_at, landed._extra,
    landed._key, landed._fetched_at, landed._run_id
  )
