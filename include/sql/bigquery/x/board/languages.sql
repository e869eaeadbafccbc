-- Board: the ten languages of the last day with the most posts.
SELECT lang, SUM(posts) AS posts
FROM {{ prefix() }}x.by_hour
WHERE hour >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 24 HOUR)
GROUP BY lang
ORDER BY posts DESC, lang
LIMIT 10
