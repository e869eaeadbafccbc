"""Calls to an API: signing, limits, retries, pages."""
