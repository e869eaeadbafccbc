"""Loaded first by a Python whose clock libfaketime sets ahead: `time.sleep` would fail there with EINVAL.

Python sleeps until an instant of the monotonic clock. libfaketime subtracts two days from it, although it is told not
to change this clock.
"""

import select
import time

time.sleep = lambda seconds: select.select([], [], [], seconds) and None
