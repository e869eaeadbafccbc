-- Mart: growth of stars by week, Monday to Sunday. Stars that were taken back since the first run still count in the
-- week in which they were given.
CREATE OR REPLACE TABLE {{ prefix() }}github.stars_by_week
OPTIONS (description = 'Stars that a repository got in a week, and all up to its end.')
AS
WITH weeks AS (
  SELECT
    repository_id,
    MAX(repository) AS repository,
    DATE_TRUNC(DATE(since), ISOWEEK) AS week_on,
    COUNT(*) AS stars
  FROM {{ prefix() }}github.memberships
  WHERE list = 'stargazers'
  GROUP BY repository_id, week_on
)

SELECT
  repository,
  week_on,
  stars,
  SUM(stars) OVER (PARTITION BY repository_id ORDER BY week_on) AS total_stars
FROM weeks
ORDER BY repository, week_on
