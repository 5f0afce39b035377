"""What ``tta doctor`` looks at on a machine: one check, one file, found by its name.

A file has ``check(subject)``, which yields findings: ``ok``, ``warn`` (it runs, but something will hurt) or
``fail`` (it will not run), each with the fact and the cure. A check that has no say yields nothing. All of
them read the machine through ``subject.machine``, so that tests lay out one of their own, and import the
standard library alone, so that the doctor runs where a package is broken. Checks that need
onnxruntime lie in ``runtime/doctor``.
"""
