"""``compactor demo``: a leader that loses a follower, each in an OS process of its own."""
