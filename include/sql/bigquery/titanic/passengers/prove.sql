-- What the warehouse holds of one run's landing: records in the landing table, those of them that the final table
-- has in this or a newer version, and all records of the final table.
SELECT
  (SELECT COUNT(*) FROM `windrow_landing.titanic_passengers_{{ run_id | slug }}`) AS loaded,
  (
    SELECT COUNT(*)
    FROM `windrow_landing.titanic_passengers_{{ run_id | slug }}` AS landed
    INNER JOIN titanic.passengers AS final
      ON final.passenger_id = landed.passenger_id AND final._fetched_at >= landed._fetched_at
  ) AS merged,
  (SELECT COUNT(*) FROM titanic.passengers) AS total
