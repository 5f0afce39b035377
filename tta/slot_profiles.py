"""The ways in which slots reach a session, by name; ``tta.runtime.provider`` says what each of them means."""

PROFILES = ("refold", "inputs", "affine")
