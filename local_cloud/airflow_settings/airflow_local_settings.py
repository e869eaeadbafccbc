"""Airflow imports this module, by its name, in every one of its processes.

It keeps Google's clients on the emulators, and makes processes and tasks start quickly. Both only on the local cloud,
whose environment puts this folder on PYTHONPATH.
"""

import gc
import os
import sys

import google_clients  # this folder is on sys.path, not a package
import preload

gc.set_threshold(50_000)  # as in local_cloud/__init__.py
google_clients.keep_on_emulators(os.environ)
if preload.forks_to_run_dag_files(sys.argv):
    preload.load(os.environ)
