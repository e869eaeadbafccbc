-- Posts of X, one row each: as they came from the stream, or from the search that fills its gaps.
-- Columns are those of windrow.sources.x.streams.Posts.contract; a test compares the two.
CREATE TABLE IF NOT EXISTS x.posts (
  post_id STRING NOT NULL OPTIONS (description = 'Id of the post; an edit is a post of its own.'),
  created_at TIMESTAMP NOT NULL OPTIONS (description = 'When it was made, out of the id.'),
  text STRING OPTIONS (description = 'The text; null where the post is deleted.'),
  author_id STRING OPTIONS (description = 'Id of the account.'),
  username STRING OPTIONS (description = 'Name of the account, if it was asked for.'),
  lang STRING OPTIONS (description = 'Language as X sees it: a BCP 47 tag, und where it sees none.'),
  hashtags STRING OPTIONS (description = 'Hashtags in lower case without their #, a blank between them.'),
  repost_of STRING OPTIONS (description = 'Id of the post that this one repeats.'),
  quote_of STRING OPTIONS (description = 'Id of the post that this one quotes.'),
  reply_to STRING OPTIONS (description = 'Id of the post that this one answers.'),
  edit_of STRING OPTIONS (description = 'Id of the version that this one replaces.'),
  deleted_at TIMESTAMP OPTIONS (description = 'When we learned that the post is deleted.'),
  _extra STRING OPTIONS (description = 'Fields of the answer that are not in the contract, as JSON.'),
  _key STRING NOT NULL OPTIONS (description = 'Key of the query that returned this record.'),
  _fetched_at TIMESTAMP NOT NULL OPTIONS (description = 'When the answer arrived.'),
  _run_id STRING NOT NULL OPTIONS (description = 'Airflow run that fetched it.')
)
PARTITION BY DATE(created_at)
CLUSTER BY post_id
OPTIONS (description = 'Posts of X, one row each.')
