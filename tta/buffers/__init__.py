"""Buffers: which frames a stream keeps for its next round of adaptation. One file each, found by its name."""
