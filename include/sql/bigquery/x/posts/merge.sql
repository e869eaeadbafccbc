-- The landed records of one run into the final table, one row a post. Done twice, it changes nothing. Of a post that
-- is there several times the last record counts, and a deletion for ever: what comes late does not undo it. Which
-- version a post replaces is kept also when it is deleted: else the replaced one would count again.
--
-- The source may be any table with these columns: the Cloud Function posts_to_bigquery, a BigQuery subscription of
-- Pub/Sub ("use table schema") or the Storage Write API can fill it instead of a load job. `source` then names it;
-- docs/x-posts.md says when. The two bounds let BigQuery leave all other partitions alone: an id tells when its post
-- was made, so the same post has the same time.
{%- set source = source | default('windrow_landing.x_posts_' ~ (run_id | slug)) %}
DECLARE oldest TIMESTAMP DEFAULT (SELECT MIN(created_at) FROM `{{ source }}`);
DECLARE newest TIMESTAMP DEFAULT (SELECT MAX(created_at) FROM `{{ source }}`);

MERGE x.posts AS final
USING (
  SELECT * EXCEPT (place)
  FROM (
    SELECT
      * REPLACE (MAX(edit_of) OVER (PARTITION BY post_id) AS edit_of),
      ROW_NUMBER() OVER (
        PARTITION BY post_id ORDER BY CASE WHEN deleted_at IS NULL THEN 1 ELSE 0 END, _fetched_at DESC
      ) AS place
    FROM `{{ source }}`
  )
  WHERE place = 1
) AS landed
ON final.post_id = landed.post_id AND final.created_at BETWEEN oldest AND newest
WHEN MATCHED AND final.deleted_at IS NOT NULL AND final.edit_of IS NULL AND landed.edit_of IS NOT NULL THEN
  UPDATE SET edit_of = landed.edit_of
WHEN MATCHED AND final.deleted_at IS NULL
  AND (landed.deleted_at IS NOT NULL OR landed._fetched_at >= final._fetched_at) THEN
  UPDATE SET
    text = landed.text,
    author_id = landed.author_id,
    username = landed.username,
    lang = landed.lang,
    hashtags = landed.hashtags,
    repost_of = landed.repost_of,
    quote_of = landed.quote_of,
    reply_to = landed.reply_to,
    edit_of = COALESCE(landed.edit_of, final.edit_of),
    deleted_at = landed.deleted_at,
    _extra = landed._extra,
    _key = landed._key,
    _fetched_at = landed._fetched_at,
    _run_id = landed._run_id
WHEN NOT MATCHED THEN
  INSERT (
    post_id, created_at, text, author_id, username, lang, hashtags, repost_of, quote_of, reply_to, edit_of,
    deleted_at, _extra, _key, _fetched_at, _run_id
  )
  VALUES (
    landed.post_id, landed.created_at, landed.text, landed.author_id, landed.username, landed.lang,
    landed.hashtags, landed.repost_of, landed.quote_of, landed.reply_to, landed.edit_of,
    landed.deleted_at, landed._extra, landed._key, landed._fetched_at, landed._run_id
  )
