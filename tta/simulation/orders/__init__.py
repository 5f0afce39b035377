"""Orders: in which sequence the readings of a stream come. One file each, found by its name."""
