"""Every error that tta raises on purpose, and what each one tells you to do.

::

    TtaError
    ├── BundleError          a bundle or state file cannot be trusted or does not fit
    │   └── StateError       an adapted state is damaged, or belongs to another bundle
    ├── ExportError          a model cannot become a bundle
    │   ├── NoGradientError  an operator on the needed path has no gradient rule
    │   └── MismatchError    the exported graph disagrees with the model it came from
    ├── FrameError           one frame is unusable: it is skipped, counted and reported
    ├── SourceError          a source cannot be opened, or broke
    ├── MemoryShortError     there is no memory for what a commit would need
    ├── NotFoundError        no adapter, metric, source, sink or device of that name
    └── MissingExtraError    an optional dependency is absent; the message has the pip line

A message is one sentence that says what was expected, what came, and what to do.
"""

from __future__ import annotations


class TtaError(Exception):
    """Base of all errors that tta raises on purpose."""


class BundleError(TtaError):
    """A bundle cannot be trusted, read, or used as asked."""


class StateError(BundleError):
    """An adapted state is damaged, or belongs to another bundle."""


class ExportError(TtaError):
    """A model cannot become a bundle."""


class NoGradientError(ExportError):
    """An operator between an adaptable layer and the objective has no gradient rule."""


class MismatchError(ExportError):
    """An exported graph disagrees with the model that it came from."""


class FrameError(TtaError):
    """One frame is unusable; the loop skips, counts and reports it."""


class SourceError(TtaError):
    """A source cannot be opened, or it broke."""


class MemoryShortError(TtaError):
    """There is no memory for what a commit would need; it was not tried."""


class NotFoundError(TtaError):
    """No adapter, metric, source, sink or device has that name."""


class MissingExtraError(TtaError):
    """An optional dependency is absent.

    >>> str(MissingExtraError("camera", "file:// video", "cv2"))
    "file:// video needs cv2, which is not installed: pip install 'tta-edge[camera]'"
    """

    def __init__(self, extra: str, what: str, module: str) -> None:
        super().__init__(
            f"{what} needs {module}, which is not installed: pip install 'tta-edge[{extra}]'"
        )
