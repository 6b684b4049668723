"""What a process runs on: a mailbox, a handler table, and a turn.

A ``Mailbox`` holds ``entries``: messages with their bound handlers, and events.  It serves one at a
time.  Where a handler is to be awaited, nothing else is served until it is done.  An idle mailbox
may serve an entry without queueing it; one that gets an entry meanwhile asks the ``RunQueue`` for a
turn.  After a few milliseconds of turns, the loop looks at its sockets again.

What a class handles is found once (``handlers``, ``protobuf``), and the way from a path to a
mailbox once per path (``routes``).  A ``Dispatch`` is an event with a future, and a ``Waiter`` has
the task that awaits it go on in the same turn.  ``Scopes`` keep the context variables of processes
apart, and ``Links`` know who watches whom.
"""
