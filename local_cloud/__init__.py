"""The local cloud: every service Windrow talks to, on this machine, under one supervisor.

The only part of the project that knows emulators exist. DAGs and plugins see connections and addresses.
"""
