"""GitHub's REST and GraphQL APIs below the path `/github`, with limits that really count.

Served are the lists of a repository (contributors, stargazers, forks), users by id and by login, `/rate_limit`,
installation tokens of a GitHub App, and the one GraphQL query that lists stargazers with their details. The
base path stands for that of a GitHub Enterprise server, `/api/v3`.
"""
