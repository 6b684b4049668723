"""What the loop and the system give; knows no message.

Each connection has a gate (`flow_control`): it is read while nothing holds it, and rests after its
turn.  So no sender keeps others waiting, and one that is too fast is slowed down by TCP.
`keepalive` notices machines that have vanished; it never takes a slow program for one.  A
`lingering_close` ends a connection without destroying what is on its way, and `memory` cuts one
that there is no memory for.  Other threads reach the thread of an `event_loop` through its
`portal`.
"""
