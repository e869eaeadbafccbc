"""Settling the queries of a plan, and finding out what the plan is."""
