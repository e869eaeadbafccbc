"""Athena and Glue, as far as Windrow uses them: Athena's SQL on DuckDB, over the Glue catalogue and S3 of ministack.

What is served is served as Athena does it. All else is refused by name, so nothing works here that does not work
there. The bounds: tables of Parquet, the statements of `statements`, the SQL of `dialect`, the calls of `executions`
and `glue`.
"""
