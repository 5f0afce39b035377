"""Input that must not teach: one rule, one file, found by its name.

A rule has ``refuses(frame, x, prediction)``, a clause for people where the frame must not be learned
from, else empty. It sees every frame of its stream once, in order, and may remember. One whose class
takes arguments is made with ``(manifest, calibration)``. A refused frame is answered, watched and
reported as any other; it is not kept for rounds of adaptation, neither to learn from nor to judge by.
"""
