"""Measures compactor next to its floors, turn about, in the same run: `python -m benchmarks`."""
