"""Closed-form heads on the features: one head, one file."""
