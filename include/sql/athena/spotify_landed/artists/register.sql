-- The files of one run, made visible. Done twice, it changes nothing.
ALTER TABLE {{ prefix() }}spotify_landed.artists ADD IF NOT EXISTS
PARTITION (dt = '{{ dag_run.run_after | ds }}', run = '{{ run_id | slug }}')
LOCATION 's3://{{ var.value.windrow_s3_bucket }}/spotify/artists/dt={{ dag_run.run_after | ds }}/run={{ run_id | slug }}/'
