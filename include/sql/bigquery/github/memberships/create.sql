-- Who was ever found in which list of which repository, one row each. Who is there now: the rows of the last run.
-- Columns are those of windrow.sources.github.streams.Memberships.contract; a test compares the two.
CREATE TABLE IF NOT EXISTS github.memberships (
  repository_id INT64 NOT NULL OPTIONS (description = 'Number of the repository; it stays.'),
  repository STRING NOT NULL OPTIONS (description = 'owner/name, as it was found.'),
  list STRING NOT NULL OPTIONS (description = 'contributors, stargazers or forks.'),
  member_key STRING NOT NULL OPTIONS (description = 'Number of the user behind a u, or a digest.'),
  user_id INT64 OPTIONS (description = 'Number of the user; null for authors without an account.'),
  login STRING OPTIONS (description = 'Login as the list has it, which may lag behind a rename.'),
  contributions INT64 OPTIONS (description = 'Commits, in contributors.'),
  since TIMESTAMP OPTIONS (description = 'When starred or forked; null in contributors.'),
  _extra STRING OPTIONS (description = 'Fields of the answer that are not in the contract, as JSON.'),
  _key STRING NOT NULL OPTIONS (description = 'Key of the query that returned this record.'),
  _fetched_at TIMESTAMP NOT NULL OPTIONS (description = 'When the answer arrived.'),
  _run_id STRING NOT NULL OPTIONS (description = 'Airflow run that fetched it.')
)
CLUSTER BY repository_id, list
OPTIONS (description = 'Members of the lists of repositories, one row each.')
