"""Schedules: when a stream changes. One file each, found by its name."""
