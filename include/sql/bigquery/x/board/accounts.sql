-- Board: the ten accounts of the last day that posted most.
SELECT account, posts
FROM {{ prefix() }}x.accounts
ORDER BY posts DESC, account
LIMIT 10
