"""Compiled: what stands on the hot path in ``compactor.net``."""
