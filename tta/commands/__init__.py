"""What ``tta`` can be told to do: one command, one file, found by its name.

A file has ``HELP`` (a line for ``tta --help``), ``arguments(parser)`` and ``command(given)``.
"""
