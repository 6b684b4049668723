"""What routes take and give.

A route is called with a `request`, and returns a `response` or what becomes one: text, bytes, JSON.
An `exchange` is both, as one event of a mailbox: the route runs when its process has its turn, at
once, as a coroutine, or as a generator of 0.3.0.  Whoever waits for the answer is then called.
Nothing here knows a socket; `inbound/response_queue.py` writes the answers.
"""
