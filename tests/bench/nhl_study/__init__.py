"""What the Hebbian term of an NHL-style method brings: ``python -m tests.bench.nhl_study``."""
