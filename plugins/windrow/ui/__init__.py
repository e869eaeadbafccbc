"""Pages in the Airflow UI: boards that draw marts. The plugin registers them: plugins/windrow_plugin.py."""
