"""X API v2, as far as a keyword stream needs it: filtered stream with rules, recent search, the app's bearer token.

posts      what post number n says: the same in every run
timeline   which posts were made when, at the rate of the scene; who listens
rules      the stream's rules, and which posts they match
stream     GET /2/tweets/search/stream
search     GET /2/tweets/search/recent
tokens     POST /oauth2/token
scene      what can be set: rate, vocabulary, and what goes wrong
admin      routes under /_admin/x
problems   errors in the API's shape; limits  calls in a window of 15 minutes
"""
