-- Posts of X, one row each: as they came from the stream, or from the search that fills its gaps.
-- Columns are those of windrow.sources.x.streams.Posts.contract; a test compares the two.
CREATE TABLE IF NOT EXISTS {{ prefix() }}x.posts (
  post_id STRING NOT NULL OPTIONS (description = 'Id of the post; each edit is a new post.'),
  created_at TIMESTAMP NOT NULL OPTIONS (description = 'When it was created, from the id.'),
  text STRING OPTIONS (description = 'The whole text; null if the post is deleted or only a notice is known.'),
  author_id STRING OPTIONS (description = 'Id of the account.'),
  username STRING OPTIONS (description = 'Name of the account, if it was requested.'),
  lang STRING OPTIONS (description = 'Language detected by X: a BCP 47 tag; und if unknown.'),
  hashtags STRING OPTIONS (description = 'Hashtags in lower case without #, separated by a space.'),
  repost_of STRING OPTIONS (description = 'Id of the post that this one reposts.'),
  quote_of STRING OPTIONS (description = 'Id of the post that this one quotes.'),
  reply_to STRING OPTIONS (description = 'Id of the post that this one replies to.'),
  edit_of STRING OPTIONS (description = 'Id of the version that this one replaces.'),
  first_version STRING OPTIONS (description = 'Id of the first version, if this is a later one.'),
  rules STRING OPTIONS (description = 'Tags of the rules that it matched, separated by a space.'),
  withheld_in STRING OPTIONS (description = 'Countries where X withholds it, separated by a space.'),
  deleted_at TIMESTAMP OPTIONS (description = 'When the notice of the deletion arrived.'),
  _extra STRING OPTIONS (description = 'Fields of the answer that are not in the contract, as JSON.'),
  _key STRING NOT NULL OPTIONS (description = 'Key of the query that returned this record.'),
  _fetched_at TIMESTAMP NOT NULL OPTIONS (description = 'When the answer arrived.'),
  _run_id STRING NOT NULL OPTIONS (description = 'Airflow run that fetched it.')
)
PARTITION BY DATE(created_at)
CLUSTER BY post_id
OPTIONS (description = 'Posts of X, one row each.')
