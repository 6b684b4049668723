"""A simulated world: hosts, their network and their time, on one thread.

The contexts in it are real ones.  `virtual_loop` is the event loop of all hosts: it gives each its
turns, and lets time jump to the next timer.  A `host` is what `compactor.system` calls a system:
sockets, names and chance come from it, and `clocks` has this thread ask it for the time.  Its
sockets (`host_sockets`) are ends of connections in memory, between which the `network` decides what
arrives, and when.  `observing` sees messages, exits and failures of all contexts; `happenings` has
the scenario wait for them, filter them, and demand that something always holds; `chaos` makes
faults at random.
"""
