"""Change detectors: one detector, one file, with the interface of the library river."""
