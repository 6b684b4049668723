"""The commands, one file each: their options, and what they print.

No help text is a docstring: those are gone where Python runs with -OO.
"""
