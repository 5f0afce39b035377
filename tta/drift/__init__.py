"""Drift metrics: one file, one score. The file's name is the score's name in reports."""
