"""The steps of a harvest as Airflow operators. What they do is in the modules above this folder."""
