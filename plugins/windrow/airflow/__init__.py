"""What Airflow knows of a harvest: hooks, operators, sensors and triggers that any source uses."""
