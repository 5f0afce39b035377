"""Checks before a commit: one file, one figure, one threshold. A check that fails vetoes the commit."""
