"""One context on its loop; joins all that stands below.

A ``Runtime`` is the state of one context, and is touched on the thread of its loop only.  It joins
the ``Registry`` of live processes, the ``Watches`` between them and others, the server, and the
peers.  ``hot_path`` chooses whether what every message passes is compiled.

A ``LoopOwner`` finds a thread for the loop: one of its own, the calling one, or the one in which a
given loop runs already.  How far a context has come is its ``Life``, which only goes forward:
threads and signal handlers may lead it on at any moment, without a lock.

``at_exit`` stops contexts that still run when the program ends, and tells those of a forked child
that nobody runs them.  ``legacy`` has the private names that programs for 0.3.0 reach for.
"""
