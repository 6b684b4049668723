"""From an accepted socket to a mailbox, and the answer back.

`server` accepts what `connection_limits` allows.  Each socket has a `connection`, an asyncio
protocol.  Its `delivery` hands the messages and requests for known paths to their mailboxes; the
rest comes back to the connection: `unusual_messages` judges messages, `link_answers` opens the
notices that `observers` tell.  Answers leave in the order of the requests (`response_queue`).
A connection that feeds a full mailbox is not read, so TCP slows its sender down; one whose peer
reads no answers is cut at last (`unread_answers`).  `server_state` is what they all share.
"""
