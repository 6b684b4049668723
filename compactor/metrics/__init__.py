"""What is counted and logged.

Each context has its own `metrics`.  A message that will not be handled is one of the
`dead_letters`: counted, logged, and shown to hooks, so nothing is lost silently.  Lines that
strangers can cause are logged at a bounded rate (`throttled_log`), and what strangers have chosen
is escaped and shortened in each line (`logs`): nobody can flood the log, or forge lines of it.
"""
