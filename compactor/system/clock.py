"""The clocks: whatever this package looks at besides the time of an event loop is asked for here.

They are looked up with each call, as ``clock.now()``, so that who replaces one replaces it for all.
"""

from __future__ import annotations

import time

now = time.perf_counter
"""Seconds since some moment; they never go back."""

date = time.time
"""Seconds since 1970."""
