"""How a run ended: the records say what is done, and the failures say why the rest is not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fgnet_pipeline.core.errors import BlocksFailedError, DamageError, InputError, StoreError, WorkerLostError
from fgnet_pipeline.execution.resume import failed_blocks, left, ready
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.store.disk_errors import full_sentence, is_full, says_full
from fgnet_pipeline.store.records.record import Failure

#: How many failed blocks an error message names, and how many lines of their traceback it shows.
BLOCKS_NAMED, LINES_SHOWN = 3, 6
#: Errors whose text says all there is to say.
SENTENCES = tuple(error.__name__ for error in (DamageError, InputError, StoreError, WorkerLostError))


def require_done(job: Job, names: list[str], trouble: str | None) -> None:
    """Check that the records say that everything is done: the scheduler's word is not enough.

    Args:
        job: with its plan.
        names: the tasks.
        trouble: what was said of workers that died; added to the message.

    Raises:
        BlocksFailedError: some blocks are not done; the message names the first of those that failed, and its
            last line says how many failed, were lost and were not begun.
        InputError: some blocks are not done, since a worker could not begin.
    """
    found = [missing for name in names if (missing := _missing(job, name)).blocks]
    if not found:
        return
    for missing in found:
        if (refusal := job.output.progress.refusal(missing.task)) is not None:
            raise refusal
    sentences = [line for missing in found if missing.has_trouble for line in missing.lines()]
    if waiting := [f"{missing.task} {missing.blocks}" for missing in found if not missing.has_trouble]:
        sentences.append(f"not begun, since blocks that they read are not done: {', '.join(waiting)}")
    sentences += [trouble] if trouble else []
    if is_full(job.output.root, "\n".join(sentences)):
        sentences.append(full_sentence(job.output.root))
    sentences.append(_last_sentence(found))
    raise BlocksFailedError("\n".join(sentences))


@dataclass(frozen=True)
class _Missing:
    """The blocks of one task that are not done.

    Attributes:
        task: its name.
        blocks: how many are not done.
        failed: why blocks of them failed.
        not_begun: how many of them wait for blocks of other tasks that are not done.
        lost: how many of them neither failed nor wait: they went down with a worker, or no worker took them.
    """

    task: str
    blocks: int
    failed: list[Failure]
    not_begun: int
    lost: int

    @property
    def has_trouble(self) -> bool:
        """Whether anything happened to the blocks but that they wait."""
        return bool(self.failed) or self.lost > 0

    def lines(self) -> list[str]:
        """What happened to the blocks, with the end of the tracebacks of the first that failed."""
        parts = [f"{len(self.failed)} of them failed"] if self.failed else []
        parts += [f"{self.not_begun} were not begun"] if self.not_begun else []
        parts += [f"{self.lost} went down with a worker"] if self.lost else []
        lines = [f"{self.task}: {self.blocks} blocks are not done, {', '.join(parts)}"]
        for failure in self.failed[:BLOCKS_NAMED]:
            tail = "\n    ".join(_tail(failure.error))
            where = f" (log: {failure.log})" if failure.log else ""
            lines.append(f"  block {list(failure.block)}{where}:\n    {tail}")
        return lines


def _missing(job: Job, name: str) -> _Missing:
    todo = left(job, name).todo
    if not todo.any():
        return _Missing(name, 0, [], 0, 0)
    failed = failed_blocks(job, name, todo)
    # A block may have failed while it could still be computed, and lost an input later: count it once.
    not_begun = todo & ~ready(job, name, todo)
    for failure in failed:
        not_begun[tuple(np.subtract(failure.block, job.plan.blocks(name).begin))] = False
    blocks, waiting = int(todo.sum()), int(not_begun.sum())
    return _Missing(name, blocks, failed, waiting, blocks - waiting - len(failed))


def _last_sentence(found: list[_Missing]) -> str:
    """How many blocks failed, were lost and were not begun because of them, and what the user can do."""
    failed, lost = sum(len(missing.failed) for missing in found), sum(missing.lost for missing in found)
    not_begun = sum(missing.not_begun for missing in found)
    parts = [f"{_blocks(failed)} failed"] if failed else []
    parts += [f"{_blocks(lost)} went down with a worker"] if lost else []
    parts += [f"{_blocks(not_begun)} that read them were not begun"] if not_begun else []
    return f"{', '.join(parts)}; all others are stored: remove the cause, and run the same command again"


def _blocks(count: int) -> str:
    return f"{count} block{'s' if count != 1 else ''}"


def _tail(error: str) -> list[str]:
    """The end of a traceback; if the error is a sentence, the sentence alone."""
    lines = error.strip().splitlines()
    kind, _, sentence = lines[-1].partition(": ") if lines else ("", "", "")
    if kind.endswith(SENTENCES):
        return [sentence]
    return lines[-1:] if says_full("".join(lines[-1:])) else lines[-LINES_SHOWN:]
