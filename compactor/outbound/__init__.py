"""From a send to a dialled socket.

The `outbox` of a process remembers the way of earlier messages: to a mailbox, or to the
`send_queue` of an address.  Each address has one `peer`.  It dials when there is something to send
(`dial`, as soon as `pace` allows), and gives its queue a `connection`.  What cannot leave yet is
parked, up to a bound; what is lost with a connection is reported, with one of the `reasons`.
Frames that libprocess may still refuse are kept in `unanswered`.  The links to an address are its
`remote_links`: they ask the peer to tell of its processes, on a `notice_connection` of its own.
"""
