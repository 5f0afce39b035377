"""The runtime: streams frames from a source through a bundle's model, and adapts it on the way.

``loop.py`` is the picture as code and the file to read first. Nothing is imported here, so that
``import tta.runtime`` costs nothing.
"""

if __name__ != "tta.runtime":
    raise ImportError("import tta.runtime, not runtime")
