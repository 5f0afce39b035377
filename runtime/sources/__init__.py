"""Sources of frames: one file per URI scheme, found by its name.

A source's constructor takes what follows ``scheme://`` and the query's options as keywords, and
opens nothing; entering it does. ``tta.runtime.source_uri.open_source`` reads the URI.
"""

if __name__ != "tta.runtime.sources":
    raise ImportError("import tta.runtime.sources, not runtime.sources")
