-- The landed videos of one run into the final table. A video that has vanished keeps what was known of it. Done twice,
-- it changes nothing; an older answer never replaces a newer one.
MERGE {{ prefix() }}youtube.videos AS final
USING `{{ prefix() }}windrow_landing.youtube_videos_{{ run_id | slug }}` AS landed
ON final.video_id = landed.video_id
WHEN MATCHED AND landed._fetched_at >= final._fetched_at THEN
  UPDATE SET
    available = landed.available,
    channel_id = IF(landed.available, landed.channel_id, final.channel_id),
    title = IF(landed.available, landed.title, final.title),
    published_at = IF(landed.available, landed.published_at, final.published_at),
    duration = IF(landed.available, landed.duration, final.duration),
    view_count = IF(landed.available, landed.view_count, final.view_count),
    like_count = IF(landed.available, landed.like_count, final.like_count),
    comment_count = IF(landed.available, landed.comment_count, final.comment_count),
    _extra = IF(landed.available, landed._extra, final._extra),
    _key = landed._key,
    _fetched_at = landed._fetched_at,
    _run_id = landed._run_id
WHEN NOT MATCHED THEN
  INSERT (
    video_id, available, channel_id, title, published_at, duration, view_count, like_count, comment_count,
    _extra, _key, _fetched_at, _run_id
  )
  VALUES (
    landed.video_id, landed.available, landed.channel_id, landed.title, landed.published_at, landed.duration,
    landed.view_count, landed.like_count, landed.comment_count, landed._extra, landed._key, landed._fetched_at,
    landed._run_id
  )
