"""What ``tta doctor`` asks onnxruntime and a bundle; files as in ``devices/doctor``, which needs neither."""
