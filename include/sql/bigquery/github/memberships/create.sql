-- Who was ever found in which list of which repository, one row each. Who is there now: the rows of the last run.
-- Columns are those of windrow.sources.github.streams.Memberships.contract; a test compares the two.
CREATE TABLE IF NOT EXISTS github.memberships (
  repository_id INT64 NOT NULL OPTIONS (description = 'Id of the repository; it never changes.'),
  repository STRING NOT NULL OPTIONS (description = 'owner/name, as GitHub returned it.'),
  list STRING NOT NULL OPTIONS (description = 'contributors, stargazers or forks.'),
  member_key STRING NOT NULL OPTIONS (description = 'u and the user id, or a key without an account.'),
  user_id INT64 OPTIONS (description = 'Id of the user; null without an account, or if it was deleted.'),
  login STRING OPTIONS (description = 'Login in the list, which may be older than a rename.'),
  contributions INT64 OPTIONS (description = 'Commits; only in contributors.'),
  since TIMESTAMP OPTIONS (description = 'Time of the star or the fork; null in contributors.'),
  _extra STRING OPTIONS (description = 'Fields of the answer that are not in the contract, as JSON.'),
  _key STRING NOT NULL OPTIONS (description = 'Key of the query that returned this record.'),
  _fetched_at TIMESTAMP NOT NULL OPTIONS (description = 'When the answer arrived.'),
  _run_id STRING NOT NULL OPTIONS (description = 'Airflow run that fetched it.')
)
CLUSTER BY repository_id, list
OPTIONS (description = 'Members of the lists of repositories, one row each.')
