"""The fake of YouTube: Data API v3, Analytics API v2, and Google's token endpoint for a refresh token.

Hosts aside, paths, parameters and bodies are Google's. What Google does not publish is chosen here, and each
choice stands in the docstring of the module that makes it. Nothing is drawn at random while it runs: the same
question at the same simulated instant has the same answer.
"""
