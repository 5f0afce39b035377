"""Sinks of results: one file each, found by its name.

A sink's constructor takes what follows ``name:`` where there is something, and the query's options
as keywords. ``tta.runtime.sink_uri.open_sink`` reads the text.
"""

if __name__ != "tta.runtime.sinks":
    raise ImportError("import tta.runtime.sinks, not runtime.sinks")
