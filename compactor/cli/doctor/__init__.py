"""What ``compactor doctor`` looks at: what a context would find here, and a peer.

A check is a function that yields findings: what is as it should be, what is worth knowing, and what
is wrong, with what to change.
"""
