"""Settings of hypothesis for the unit tests: the same examples in every run, and no database of failures."""

from hypothesis import settings

settings.register_profile("unit", derandomize=True, database=None, deadline=None, max_examples=40)
settings.load_profile("unit")
