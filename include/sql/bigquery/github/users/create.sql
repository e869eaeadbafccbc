-- Users, one row each: as the last run found them.
-- Columns are those of windrow.sources.github.streams.Users.contract; a test compares the two.
CREATE TABLE IF NOT EXISTS github.users (
  user_id INT64 NOT NULL OPTIONS (description = 'Id of the account; it never changes.'),
  login STRING NOT NULL OPTIONS (description = 'Current login.'),
  type STRING NOT NULL OPTIONS (description = 'User, Bot, Organization, Mannequin, ...'),
  name STRING OPTIONS (description = 'Name, as entered by the user.'),
  company STRING OPTIONS (description = 'Company, as entered by the user.'),
  blog STRING OPTIONS (description = 'Link, as entered by the user.'),
  location STRING OPTIONS (description = 'Place, as entered by the user.'),
  email STRING OPTIONS (description = 'Public e-mail address.'),
  hireable BOOL OPTIONS (description = 'True if the user says so.'),
  bio STRING OPTIONS (description = 'Biography, as entered by the user.'),
  twitter_username STRING OPTIONS (description = 'Name on X.'),
  site_admin BOOL OPTIONS (description = 'Works for GitHub.'),
  public_repos INT64 OPTIONS (description = 'Public repositories; null from GraphQL.'),
  public_gists INT64 OPTIONS (description = 'Public gists; null from GraphQL.'),
  followers INT64 OPTIONS (description = 'Followers; null from GraphQL.'),
  following INT64 OPTIONS (description = 'Followed accounts; null from GraphQL.'),
  created_at TIMESTAMP NOT NULL OPTIONS (description = 'When the account was created.'),
  updated_at TIMESTAMP NOT NULL OPTIONS (description = 'When the profile was last changed.'),
  _extra STRING OPTIONS (description = 'Fields of the answer that are not in the contract, as JSON.'),
  _key STRING NOT NULL OPTIONS (description = 'Key of the query that returned this record.'),
  _fetched_at TIMESTAMP NOT NULL OPTIONS (description = 'When the answer arrived.'),
  _run_id STRING NOT NULL OPTIONS (description = 'Airflow run that fetched it.')
)
CLUSTER BY user_id
OPTIONS (description = 'Users of GitHub, one row each.')
