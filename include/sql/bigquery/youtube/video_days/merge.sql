-- The landed days of one run into the final table: a day that was read again takes its newer figures. Done twice, it
-- changes nothing; an older answer never replaces a newer one, so a backfill that comes late does no harm.
-- The two bounds let BigQuery leave all other partitions alone.
DECLARE first_day DATE DEFAULT (SELECT MIN(day) FROM `windrow_landing.youtube_video_days_{{ run_id | slug }}`);
DECLARE last_day DATE DEFAULT (SELECT MAX(day) FROM `windrow_landing.youtube_video_days_{{ run_id | slug }}`);

MERGE youtube.video_days AS final
USING `windrow_landing.youtube_video_days_{{ run_id | slug }}` AS landed
ON final.video_id = landed.video_id AND final.day = landed.day AND final.day BETWEEN first_day AND last_day
WHEN MATCHED AND landed._fetched_at >= final._fetched_at THEN
  UPDATE SET
    views = landed.views,
    engaged_views = landed.engaged_views,
    minutes_watched = landed.minutes_watched,
    mean_view_seconds = landed.mean_view_seconds,
    likes = landed.likes,
    comments = landed.comments,
    shares = landed.shares,
    subscribers_gained = landed.subscribers_gained,
    subscribers_lost = landed.subscribers_lost,
    _extra = landed._extra,
    _key = landed._key,
    _fetched_at = landed._fetched_at,
    _run_id = landed._run_id
WHEN NOT MATCHED THEN
  INSERT (
    video_id, day, views, engaged_views, minutes_watched, mean_view_seconds, likes, comments, shares,
    subscribers_gained, subscribers_lost, _extra, _key, _fetched_at, _run_id
  )
  VALUES (
    landed.video_id, landed.day, landed.views, landed.engaged_views, landed.minutes_watched,
    landed.mean_view_seconds, landed.likes, landed.comments, landed.shares, landed.subscribers_gained,
    landed.subscribers_lost, landed._extra, landed._key, landed._fetched_at, landed._run_id
  );
