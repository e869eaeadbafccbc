-- Board: the ten hashtags of the last day that most posts have.
SELECT CONCAT('#', hashtag) AS hashtag, posts
FROM {{ prefix() }}x.hashtags
ORDER BY posts DESC, hashtag
LIMIT 10
