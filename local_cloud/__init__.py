"""The local cloud: every service Windrow talks to, on this machine, under one supervisor.

The only part of the project that knows emulators exist. DAGs and plugins see connections and addresses.
"""

import gc

# a process that starts makes hundreds of thousands of objects that stay, and with Python's 700 the collector looks at
# them again and again: a fifth of the CPU time of a start
gc.set_threshold(50_000)
