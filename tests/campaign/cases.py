"""Cases: files changed at random, which a seed and a number determine, and what became of them."""

from __future__ import annotations

import copy
import random
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab_files.specimen import Rendered, Truth

from campaign import folder_format, hdf5_format, n5_format, precomputed_format, tiff_format, zarr_formats
from campaign.mutation import Format, Kind, Mutation
from campaign.reading import Reading, difference, read

#: Of ten cases in a row, five keep the meaning, three destroy it, and of two nobody can say.
KINDS = (Kind.PRESERVING,) * 5 + (Kind.DESTROYING,) * 3 + (Kind.UNDECIDABLE,) * 2
#: How many changes that keep the meaning come together: in a case of that kind, and before any other change.
TOGETHER = {Kind.PRESERVING: (1, 4), Kind.DESTROYING: (0, 2), Kind.UNDECIDABLE: (0, 1)}


def formats() -> list[Format]:
    """All rows of the report."""
    modules = (zarr_formats, n5_format, precomputed_format, hdf5_format, tiff_format, folder_format)
    return [form for module in modules for form in module.formats()]


FORMATS = formats()


@dataclass
class Case:
    """One case.

    Attributes:
        seed: of the campaign.
        number: of the case.
        form: the format.
        kind: what must follow.
        changes: names of the changes, in their order.
        exact: see `Mutation.exact`.
        native: see `Mutation.native`.
        truth: what is right to read.
        files: in memory.
    """

    seed: int
    number: int
    form: Format
    kind: Kind
    changes: list[str]
    exact: bool
    native: bool
    truth: Truth
    files: Rendered


@dataclass
class Verdict:
    """What became of a case; plain values only, so that a process can hand it on.

    Attributes:
        number: of the case.
        form: name of the format.
        kind: value of a `Kind`.
        changes: names of the changes.
        outcome: `right`, `refused`, `understood`; or one of `FAILURES`.
        detail: the difference, the sentence or the traceback.
        understood: what was understood.
    """

    number: int
    form: str
    kind: str
    changes: list[str]
    outcome: str
    detail: str = ""
    understood: dict[str, Any] | None = field(default=None)

    @property
    def failed(self) -> bool:
        """Whether the outcome is none that the case allows."""
        return self.outcome in FAILURES

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


FAILURES = ("wrong value", "refused wrongly", "accepted", "fault")


def form_and_kind(number: int) -> tuple[Format, Kind]:
    """Which format and kind a case has: both follow from its number."""
    return FORMATS[number // len(KINDS) % len(FORMATS)], KINDS[number % len(KINDS)]


def make(seed: int, number: int) -> Case:
    """The case with this number."""
    rng = random.Random(f"{seed}/{number}")
    form, kind = form_and_kind(number)
    specimen = form.make(rng)
    keeping = [m for m in form.mutations if m.kind is Kind.PRESERVING]
    deciding = [m for m in form.mutations if m.kind is kind and kind is not Kind.PRESERVING]
    rng.shuffle(keeping)
    rng.shuffle(deciding)
    left = rng.randint(*TOGETHER[kind])
    done: list[Mutation] = []
    later = [m for m in keeping if m.on_files][: rng.randint(0, left)]
    for change in [m for m in keeping if not m.on_files]:
        if left - len(later) > len(done) and change.when(specimen):
            change.apply(specimen, rng)
            done.append(change)
    decisive = next((m for m in deciding if m.on_files or m.when(specimen)), None)
    if decisive and not decisive.on_files:
        decisive.apply(specimen, rng)
    truth, files = specimen.truth, form.render(specimen)
    files.documents = copy.deepcopy(files.documents)
    for change in [m for m in later if m.when(files)]:
        change.apply(files, rng)
        done.append(change)
    if kind is Kind.PRESERVING and not done:
        done.append(next(m for m in keeping if m.on_files and m.when(files)))
        done[0].apply(files, rng)
    if decisive and decisive.on_files:
        decisive = next(m for m in deciding if m.on_files and m.when(files))
        decisive.apply(files, rng)
    done += [decisive] if decisive else []
    exact, native = bool(decisive and decisive.exact), bool(decisive and decisive.native)
    return Case(seed, number, form, kind, [m.name for m in done], exact, native, truth, files)


def run(case: Case, keep: Path | None = None) -> Verdict:
    """Write the files of a case, read them, and judge the outcome.

    Args:
        case: what to do.
        keep: folder that keeps the files; None for a temporary one, in memory if the system has such.
    """
    memory = Path("/dev/shm")
    folder = keep or Path(tempfile.mkdtemp(prefix="odd-", dir=memory if memory.is_dir() else None))
    try:
        return judged(case, read(case.files, folder))
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def judged(case: Case, found: Reading) -> Verdict:
    """The verdict on a reading."""
    outcome, detail = _outcome(case, found)
    return Verdict(case.number, case.form.name, case.kind.value, case.changes, outcome, detail, found.understood)


def _outcome(case: Case, found: Reading) -> tuple[str, str]:
    if found.trace:
        return "fault", found.trace
    if found.refused:
        if case.kind is Kind.PRESERVING:
            return "refused wrongly", found.sentence
        wrong_error = case.kind is Kind.DESTROYING and not found.bad_input
        return ("fault" if wrong_error else "refused"), found.sentence
    if case.kind is Kind.DESTROYING:
        return "accepted", str(found.understood)
    wrong = difference(found, case.truth)
    if case.kind is Kind.UNDECIDABLE and not case.exact:
        return "understood", wrong
    return ("wrong value", wrong) if wrong else ("right", "")
