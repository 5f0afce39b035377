"""Checks of a proposal: one file, one figure, one threshold; larger is worse, and source slots give about 0.

A check is found by its file's name. Its figure enters the log odds of harm (``tta.harm``) where it has a
weight there; by itself it vetoes above its ``threshold``, and infinity says that it only reports.
"""
