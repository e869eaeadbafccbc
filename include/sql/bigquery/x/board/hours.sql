-- Board: posts an hour and the share of reposts, of the last three days.
SELECT hour, SUM(posts) AS posts, ROUND(SUM(reposts) / SUM(posts), 4) AS repost_share
FROM {{ prefix() }}x.by_hour
WHERE hour >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 3 DAY)
GROUP BY hour
ORDER BY hour
