"""``compactor top``: the screen, and what is on it; textual draws it."""
