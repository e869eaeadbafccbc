-- Before the merge, on the landing table: each column of the one row must be true. One passenger is one row, and
-- values are ones that the passenger lists know.
SELECT
  COUNT(*) > 0 AS has_rows,
  COUNT(*) = COUNT(DISTINCT passenger_id) AS one_row_a_passenger,
  COUNT(*) = COUNT(DISTINCT _key) AS one_row_a_query,
  LOGICAL_AND(class IN (1, 2, 3)) AS class_is_known,
  LOGICAL_AND(survived IN (0, 1)) AS survived_is_known,
  LOGICAL_AND(sex IN ('female', 'male')) AS sex_is_known
FROM `windrow_landing.titanic_passengers_{{ run_id | slug }}`
