-- Mart: who survived, by class of the ticket and sex.
CREATE OR REPLACE TABLE {{ prefix() }}titanic.survival
OPTIONS (description = 'Survival by class of the ticket and sex.')
AS
SELECT
  class,
  sex,
  COUNT(*) AS passengers,
  SUM(survived) AS survivors,
  ROUND(SUM(survived) / COUNT(*), 4) AS survival_rate,
  ROUND(AVG(age), 1) AS mean_age,
  ROUND(AVG(fare), 2) AS mean_fare,
  MAX(_fetched_at) AS fetched_at
FROM {{ prefix() }}titanic.passengers
GROUP BY class, sex
ORDER BY class, sex
