"""The errors that the pipeline raises on purpose.

PipelineError
+-- InputError         the input does not fit                            exit code 2
|   +-- StaleError     the output holds results of another configuration exit code 2
+-- BlocksFailedError  some blocks could not be computed                 exit code 1
+-- DiskFullError      the disk of the output is full                    exit code 1
+-- DamageError        stored data contradict themselves                 exit code 1
+-- StoppedError       a worker was asked to stop (SIGTERM)              exit code 143
+-- WorkerLostError    a process can compute nothing more               exit code 1
+-- StoreError         an object store refuses or does not answer        exit code 1

`fgnet_pipeline.execution.cluster.interface` adds ClusterError.
"""

from __future__ import annotations


class PipelineError(Exception):
    """Base of all errors with a message for the user.

    Attributes:
        exit_code: exit code of a command that ends with this error.
    """

    exit_code = 1


class InputError(PipelineError):
    """Bad input, found before anything was written.

    Args:
        field: the configuration key, option or file that is wrong, e.g. `"volume.path"`.
        value: the value that was found.
        expected: the values that are accepted.
        remedy: what the user can do.
    """

    exit_code = 2

    def __init__(self, field: str, value: object, expected: str, remedy: str) -> None:
        super().__init__(field, value, expected, remedy)
        self.field, self.value, self.expected, self.remedy = field, value, expected, remedy

    def __str__(self) -> str:
        """One sentence: field, value, expected values and remedy."""
        shown = repr(self.value) if isinstance(self.value, str) else str(self.value)
        return f"{self.field} = {shown}: expected {self.expected}; {self.remedy}"


class StaleError(InputError):
    """The output holds results that another configuration made."""


class BlocksFailedError(PipelineError):
    """Some blocks failed. The message names the blocks, the end of their tracebacks and the log."""


class DiskFullError(PipelineError):
    """The disk of the output is full. Every block that finished before has its record."""


class DamageError(PipelineError):
    """Stored data contradict themselves or cannot be decoded.

    Args:
        message: the whole sentence, with the file and the stage to redo if they are known.
        reason: the fault alone; by default the whole message.
    """

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = message if reason is None else reason


class StoppedError(PipelineError):
    """A worker was asked to stop before its blocks were done. The blocks that it finished have their records."""

    exit_code = 143


class WorkerLostError(PipelineError):
    """A process can compute no more blocks, though another process could, for example because it has lost its GPU."""


class StoreError(PipelineError, OSError):
    """An object store or web server refuses or does not answer, after all retries. The message names the object.

    Before anything was written, it is turned into an `InputError`. While a block is computed, it makes the block fail.
    """
