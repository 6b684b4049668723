"""Contexts behind HTTP proxies that are not ours."""
