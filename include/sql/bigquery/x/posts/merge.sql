-- The landed records of one run into the final table, one row a post. Done twice, it changes nothing. Of a post that
-- is there several times the last record counts, and a deletion for ever: what comes late does not undo it. Which
-- versions a post replaces is kept also when it is deleted: else a replaced one would count again. The rules of all
-- records of a post are united, as the search returns it once for each rule. A notice that a post is withheld has no
-- text, and changes nothing else.
--
-- The source may be any table with these columns: the Cloud Function posts_to_bigquery, a BigQuery subscription of
-- Pub/Sub ("use table schema") or the Storage Write API can fill it instead of a load job. `source` then names it;
-- docs/x-posts.md says when. The two bounds let BigQuery leave all other partitions alone: an id tells when its post
-- was made, so the same post has the same time.
{%- set source = source | default(prefix() ~ 'windrow_landing.x_posts_' ~ (run_id | slug)) %}
DECLARE oldest TIMESTAMP DEFAULT (SELECT MIN(created_at) FROM `{{ source }}`);
DECLARE newest TIMESTAMP DEFAULT (SELECT MAX(created_at) FROM `{{ source }}`);

MERGE {{ prefix() }}x.posts AS final
USING (
  SELECT records.* EXCEPT (place), matched.rules
  FROM (
    SELECT
      * EXCEPT (rules) REPLACE (
        MAX(edit_of) OVER (PARTITION BY post_id) AS edit_of,
        MIN(first_version) OVER (PARTITION BY post_id) AS first_version,
        FIRST_VALUE(withheld_in IGNORE NULLS) OVER (
          PARTITION BY post_id ORDER BY _fetched_at DESC ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
        ) AS withheld_in
      ),
      ROW_NUMBER() OVER (
        PARTITION BY post_id
        ORDER BY CASE WHEN deleted_at IS NOT NULL THEN 0 WHEN text IS NOT NULL THEN 1 ELSE 2 END, _fetched_at DESC
      ) AS place
    FROM `{{ source }}`
  ) AS records
  LEFT JOIN (
    SELECT post_id, STRING_AGG(DISTINCT rule, ' ' ORDER BY rule) AS rules
    FROM (
      SELECT post_id, rules FROM `{{ source }}`
      UNION ALL
      SELECT post_id, rules FROM {{ prefix() }}x.posts WHERE created_at BETWEEN oldest AND newest
    )
    CROSS JOIN UNNEST(SPLIT(rules, ' ')) AS rule
    GROUP BY post_id
  ) AS matched
  ON records.post_id = matched.post_id
  WHERE place = 1
) AS landed
ON final.post_id = landed.post_id AND final.created_at BETWEEN oldest AND newest
WHEN MATCHED AND final.deleted_at IS NOT NULL THEN
  UPDATE SET
    edit_of = COALESCE(final.edit_of, landed.edit_of),
    first_version = COALESCE(final.first_version, landed.first_version)
WHEN MATCHED AND landed.deleted_at IS NULL
  AND final.text IS NOT NULL AND (landed.text IS NULL OR landed._fetched_at < final._fetched_at) THEN
  UPDATE SET
    rules = landed.rules,
    withheld_in = CASE
      WHEN landed._fetched_at < final._fetched_at THEN COALESCE(final.withheld_in, landed.withheld_in)
      ELSE COALESCE(landed.withheld_in, final.withheld_in)
    END
WHEN MATCHED THEN
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
    first_version = COALESCE(landed.first_version, final.first_version),
    rules = CASE WHEN landed.deleted_at IS NULL THEN landed.rules END,
    withheld_in = COALESCE(landed.withheld_in, final.withheld_in),
    deleted_at = landed.deleted_at,
    _extra = landed._extra,
    _key = landed._key,
    _fetched_at = landed._fetched_at,
    _run_id = landed._run_id
WHEN NOT MATCHED THEN
  INSERT (
    post_id, created_at, text, author_id, username, lang, hashtags, repost_of, quote_of, reply_to, edit_of,
    first_version, rules, withheld_in, deleted_at, _extra, _key, _fetched_at, _run_id
  )
  VALUES (
    landed.post_id, landed.created_at, landed.text, landed.author_id, landed.username, landed.lang,
    landed.hashtags, landed.repost_of, landed.quote_of, landed.reply_to, landed.edit_of,
    landed.first_version, CASE WHEN landed.deleted_at IS NULL THEN landed.rules END, landed.withheld_in,
    landed.deleted_at, landed._extra, landed._key, landed._fetched_at, landed._run_id
  )
