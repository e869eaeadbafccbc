"""Answers and messages to Parquet files in an object store, and the proof that nothing is missing."""
