"""The command `windrow`: the Harvest page in a terminal, from the same snapshot, without Airflow."""
