"""Adaptation methods: one file, one method, one page. The file's name is its name for ``--adapter``."""
