"""Turns declarations into streams, SQL and DAGs."""
