"""Every error that the pipeline raises on purpose.

PipelineError
+-- InputError    what the user gave does not fit          exit code 2
|   +-- StaleError   the output holds results of another configuration
+-- BlocksFailedError  some blocks could not be computed        exit code 1
+-- DiskFullError stored nothing more, the disk is full exit code 1
+-- DamageError   stored data contradict themselves        exit code 1
+-- StoppedError  a worker was asked to stop (SIGTERM)     exit code 143
+-- StoreError    an object store refuses or does not answer  exit code 1
"""

from __future__ import annotations


class PipelineError(Exception):
    """Base of all errors with a message meant for the user; ``exit_code`` is what the command returns."""

    exit_code = 1


class InputError(PipelineError):
    """Bad input, found before anything was written.

    Args:
        field: the configuration key, option or file that is wrong, e.g. ``"volume.path"``.
        value: what was found there.
        expected: what would have been accepted.
        remedy: what the user can do about it.
    """

    exit_code = 2

    def __init__(self, field: str, value: object, expected: str, remedy: str) -> None:
        super().__init__(field, value, expected, remedy)
        self.field, self.value, self.expected, self.remedy = field, value, expected, remedy

    def __str__(self) -> str:
        shown = repr(self.value) if isinstance(self.value, str) else str(self.value)
        return f"{self.field} = {shown}: expected {self.expected}; {self.remedy}"


class StaleError(InputError):
    """The output holds results that another configuration made."""


class BlocksFailedError(PipelineError):
    """Blocks failed; the message names them, the tail of their error and the log."""


class DiskFullError(PipelineError):
    """The disk of the output is full; everything finished before is recorded."""


class DamageError(PipelineError):
    """Stored data contradict themselves or cannot be decoded; the message names the file and the stage to redo.

    ``reason``: what is wrong alone, where the message says more.
    """

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = message if reason is None else reason


class StoppedError(PipelineError):
    """A worker was asked to stop before its blocks were done; what it finished is recorded."""

    exit_code = 143


class StoreError(PipelineError, OSError):
    """An object store or web server refuses or does not answer, after all retries; the message names the object.

    Met before anything was written, it becomes an :class:`InputError`; met in a block, the block has failed.
    """
