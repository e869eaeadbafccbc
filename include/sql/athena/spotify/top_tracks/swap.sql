-- The checked build becomes the table, at once for all who read it.
ALTER TABLE {{ prefix() }}spotify.top_tracks
SET LOCATION 's3://{{ var.value.windrow_s3_bucket }}/marts/spotify/top_tracks/run={{ run_id | slug }}/'
