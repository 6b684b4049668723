"""``compactor bench``: compactor next to a bare event loop, in OS processes that take turns."""
