-- Before the build becomes the table: each column of the one row must be true.
SELECT
  count(*) > 0 AS has_rows,
  count(*) = count(artist_id) AS each_has_an_artist,
  count_if(rank > 0 AND track_id IS NULL) = 0 AS each_rank_has_a_track,
  count(*) = (
    SELECT count(*) FROM (
      SELECT DISTINCT artist_id, rank FROM {{ prefix() }}spotify.top_tracks_{{ run_id | slug }}
    ) AS places
  ) AS one_track_a_rank,
  count_if(rank < 0 OR rank > 100) = 0 AS ranks_are_known
FROM {{ prefix() }}spotify.top_tracks_{{ run_id | slug }}
