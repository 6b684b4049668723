"""The compiled hot path: C twins of pure functions, and modules of the package compiled again."""
