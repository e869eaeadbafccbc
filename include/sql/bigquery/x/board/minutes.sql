-- Board: posts a minute of the last two hours, those that repeat another one apart.
SELECT minute, 'original' AS kind, SUM(posts - reposts) AS posts
FROM {{ prefix() }}x.by_minute
WHERE minute >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 2 HOUR)
GROUP BY minute
UNION ALL
SELECT minute, 'reposts' AS kind, SUM(reposts) AS posts
FROM {{ prefix() }}x.by_minute
WHERE minute >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 2 HOUR)
GROUP BY minute
ORDER BY minute, kind
