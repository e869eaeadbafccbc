"""Kills, freezes and restarts of everything while all DAGs run, and a comparison of every table with the APIs."""
