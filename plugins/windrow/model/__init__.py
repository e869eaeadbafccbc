"""What a harvest is made of, as data and pure functions: no I/O, no Airflow."""
