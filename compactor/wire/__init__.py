"""Bytes to values and values to bytes.  Nothing here knows a socket, a loop or a clock.

Each way has a decoder that is fed with whatever bytes have come, and returns what they complete:
``RequestDecoder`` for what others ask, ``ResponseDecoder`` for what they answer.  A decoder keeps
the bytes of what is incomplete, and works in steps, so that no input holds up a loop.

Frames of one sender repeat their heads.  So a head is parsed once (``request_head``, which has its
``fields`` parsed), and recognised from then on (``head_pattern``) by the connection that it came
on, as long as that has room: no other can have it forgotten.  Bodies have a length or come in
``chunks`` (``body_decoder``), and may have to be inflated (``inflate``).

The other way, ``encoder`` makes bytes of messages and responses.  All but the body of a message is
the same each time, and encoded once.  ``notices`` is what compactors add to libprocess.
"""
