"""What waits for something outside Airflow."""
