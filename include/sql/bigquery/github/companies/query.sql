-- Mart: contributors by company and place, both as one word for the many ways in which people write them. A company
-- is the first @mention, or the text without its legal form; a place is what stands before the comma.
CREATE OR REPLACE TABLE {{ prefix() }}github.companies
OPTIONS (description = 'Contributors of a repository by company and place; null for those who tell none.')
AS
WITH members AS (
  SELECT *
  FROM {{ prefix() }}github.memberships
  WHERE user_id IS NOT NULL
  QUALIFY _run_id = FIRST_VALUE(_run_id) OVER (PARTITION BY repository_id, list ORDER BY _fetched_at DESC, _run_id)
),

contributors AS (
  SELECT
    members.repository_id,
    members.repository,
    members.user_id,
    members.contributions,
    LOWER(COALESCE(
      REGEXP_EXTRACT(TRIM(users.company), r'^@([0-9A-Za-z-]+)'),
      REGEXP_REPLACE(users.company, r'(?i)[ ,]+(inc|llc|ltd|gmbh|corp|co)[. ]*$', '')
    )) AS company,
    LOWER(REGEXP_EXTRACT(users.location, r'^[^,]*')) AS place
  FROM members
  INNER JOIN {{ prefix() }}github.users AS users
    ON users.user_id = members.user_id
  WHERE members.list = 'contributors'
),

cleaned AS (
  SELECT
    * EXCEPT (company, place),
    NULLIF(TRIM(REGEXP_REPLACE(company, r'[^\p{L}\p{N}&.@/]+', ' ')), '') AS company,
    NULLIF(TRIM(REGEXP_REPLACE(place, r'[^\p{L}\p{N}.]+', ' ')), '') AS place
  FROM contributors
)

SELECT
  repository,
  company,
  CASE
    WHEN place IN ('münchen', 'muenchen') THEN 'munich'
    WHEN place = 'lisboa' THEN 'lisbon'
    WHEN place IN ('sf', 'san francisco bay area') THEN 'san francisco'
    WHEN place = '東京' THEN 'tokyo'
    ELSE place
  END AS place,
  COUNT(DISTINCT user_id) AS contributors,
  SUM(contributions) AS contributions
FROM cleaned
GROUP BY 1, 2, 3
ORDER BY repository, contributors DESC
