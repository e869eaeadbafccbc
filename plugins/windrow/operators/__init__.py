"""Old places of classes that Airflow's database may still name, from before version 0.2.0. They go with 0.3.0."""
