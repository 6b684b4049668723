"""What every context serves by itself, for those who run it: as C++ libprocess does, and more.

An `endpoint` is a record: a path, a function that answers requests to it, whom it is for, and its
help.  The `registry` of a context has those of all modules here.  It is made, and this room is
imported, by the first request for which neither a live process nor a route of the delegate is found
(`runtime/pages.py`): so whoever asks nothing of it pays nothing, a user's process always goes
before an endpoint of its id, and nothing else on the way of a request knows that there is more.

To the rest of the context all endpoints are the routes of one process that cannot be looked up.  It
has a mailbox as any other, and so requests are answered in their order, hold back who asks too
much, and fail as those to routes do.  An endpoint that is a coroutine runs beside that mailbox.

Nobody who asks may hold up the loop.  An answer whose length others choose, as the number of
processes or the depth of a mailbox, is made of many small parts, and `pieces` makes as many at a
time as fit in a turn of the loop, whoever else asks for how much.
"""
