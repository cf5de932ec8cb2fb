"""How a run ended: the records say what is done, and the failures say why the rest is not."""

from __future__ import annotations

from fgnet_pipeline.core.errors import BlocksFailedError, DamageError, StoreError
from fgnet_pipeline.execution.resume import failed_blocks, left
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.store.disk_errors import full_sentence, is_full, says_full

#: How many failed blocks an error message names, and how many lines of their traceback it shows.
BLOCKS_NAMED, LINES_SHOWN = 3, 6
#: Errors whose text says all there is to say.
SENTENCES = (DamageError.__name__, StoreError.__name__)


def require_done(job: Job, names: list[str], trouble: str | None) -> None:
    """Check that the records say that everything is done: the scheduler's word is not enough.

    Args:
        job: with its plan.
        names: the tasks.
        trouble: what was said of workers that died; added to the message.

    Raises:
        BlocksFailedError: some blocks are not done; the message names the first of those that failed.
    """
    sentences = []
    for name in names:
        missing = int(left(job, name).todo.sum())
        if missing:
            sentences += _describe_failures(job, name, missing)
    if sentences:
        sentences += [trouble] if trouble else []
        if is_full(job.output.root, "\n".join(sentences)):
            sentences.append(full_sentence(job.output.root))
        raise BlocksFailedError("\n".join(sentences))


def _describe_failures(job: Job, name: str, missing: int) -> list[str]:
    failed = failed_blocks(job, name, left(job, name).todo)
    if not failed:
        return [f"{name}: {missing} blocks are waiting for blocks that failed, or went down with a worker"]
    sentences = [f"{name}: {missing} blocks are not done, {len(failed)} of them failed"]
    for failure in failed[:BLOCKS_NAMED]:
        tail = "\n    ".join(_tail(failure.error))
        where = f" (log: {failure.log})" if failure.log else ""
        sentences.append(f"  block {list(failure.block)}{where}:\n    {tail}")
    return sentences


def _tail(error: str) -> list[str]:
    """The end of a traceback; if the error is a sentence, the sentence alone."""
    lines = error.strip().splitlines()
    kind, _, sentence = lines[-1].partition(": ") if lines else ("", "", "")
    if kind.endswith(SENTENCES):
        return [sentence]
    return lines[-1:] if says_full("".join(lines[-1:])) else lines[-LINES_SHOWN:]
