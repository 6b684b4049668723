"""The version, which the build reads without importing the package."""

__version__ = "1.0.0.dev0"
