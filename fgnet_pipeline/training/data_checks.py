"""What is wrong with labelled data, found before the first step of a training.

A fault that makes a training useless is refused: the loss would fall all the same, and the weights would join
everything, divide everything, or be scored on what they were trained on. What is only doubtful is a warning. If the
user knows better (`accepted`), everything is a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fgnet_pipeline.core.counted import counted
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.stages.model_choice import VOXEL_SIZE_TOLERANCE, is_near
from fgnet_pipeline.training.config import TrainConfig
from fgnet_pipeline.training.data_facts import DataFacts, Look, table
from fgnet_pipeline.training.overlap import shared_voxels
from fgnet_pipeline.training.volumes import ISOTROPY, LabelledBox

#: What the end of a remedy says if the user may know better.
YES = ", or train all the same with --yes"
#: Labels that are moved by more than a voxel: refused below the first share of the best fit, doubtful below the second.
SHIFTED, DOUBTFUL_SHIFT = 0.7, 0.9
#: Borders fit nowhere, or tell nothing about dark and bright, below this contrast, deviations.
FAINT = 0.3
#: Greatest distance of a percentile of raw, as a share of the range of grey values: refused, and doubtful.
OTHER_GREY, DOUBTFUL_GREY = 0.4, 0.2
#: Of labelled voxels so many at least continue in the next section; below, labels were numbered per section.
LINKED, DOUBTFUL_LINKED = 0.1, 0.5


@dataclass(frozen=True)
class Fault:
    """Something wrong with data.

    Attributes:
        error: the sentence.
        is_refused: whether the training is refused; if not, it is a warning.
    """

    error: InputError
    is_refused: bool


def check_data(
    config: TrainConfig,
    training: Sequence[LabelledBox],
    held_out: Sequence[LabelledBox],
    begins_with: Look | None = None,
    accepted: bool = False,
    report: Callable[[str], None] = lambda sentence: None,
) -> list[DataFacts]:
    """Look at all data, tell what was found, and refuse what makes a training useless.

    Args:
        config: of the training.
        training: boxes that are learned from.
        held_out: boxes that are scored.
        begins_with: what the data of the weights looked like that the training goes on from; None if that is not known.
        accepted: the user knows better: nothing is refused, everything is a warning.
        report: takes the table, one line at a time, what label 0 was taken for, and warnings.

    Returns:
        The facts of the training boxes.

    Raises:
        InputError: the first fault that is refused.
    """
    facts, others = [DataFacts(box) for box in training], [DataFacts(box) for box in held_out]
    for line in table([*facts, *others]):
        report(line)
    faults = list(_faults(config, facts, others, begins_with))
    for fault in faults:
        if fault.is_refused and not accepted:
            raise fault.error
    for sentence in _about_zero(config, facts):
        report(sentence)
    for fault in faults:
        report(f"warning: {fault.error}")
    return facts


def _about_zero(config: TrainConfig, facts: Sequence[DataFacts]) -> Iterator[str]:
    for found in facts:
        if found.box.zero == "membrane":
            why = "" if config.data.zero else f" ({100 * (1 - found.box.drawn.touching_share):.0f} % of borders are 0)"
            yield (
                f"{found.box.field}: label 0 is taken for membranes{why}: filled from both sides, by up to "
                f"{found.box.drawn.reach} voxels"
            )


def _faults(
    config: TrainConfig, training: Sequence[DataFacts], held_out: Sequence[DataFacts], begins_with: Look | None
) -> Iterator[Fault]:
    yield from _nothing_divides(config, training)
    yield from _nothing_to_score(held_out)
    yield from _overlaps(training, held_out)
    for facts in (*training, *held_out):
        yield from _shifted(facts)
        yield from _not_linked(facts)
        yield from _out_of_range(config, facts)
    yield from _other_looks(training, held_out, begins_with)
    yield from _voxel_sizes(config, training)


def _nothing_divides(config: TrainConfig, training: Sequence[DataFacts]) -> Iterator[Fault]:
    """No pair of voxels says that two objects are apart, or in some volumes none does."""
    bare = [facts for facts in training if not facts.has_borders]
    for facts in bare:
        box, count = facts.box, len(facts.sizes)
        field, found = f"{box.field}.labels", f"{counted(count, 'object')}, of which no two touch"
        remedy = "give labels of several objects that touch"
        if count == 1:
            found = "one object"
            remedy = "give every object its own id (a mask of membranes is no labels)"
        elif box.zero == "ignore" and box.drawn.divided:
            field, found, remedy = "data.zero", "ignore", 'set data.zero = "membrane", since 0 lies between objects'
        expected = "labels in which different objects touch, which teach what a border is"
        yield Fault(InputError(field, found, expected, remedy + YES), len(bare) == len(training))
    for facts in training:
        if config.data.zero is None and facts.box.drawn.is_doubtful:
            share = f"0 at {100 * (1 - facts.box.drawn.touching_share):.0f} % of the borders, and ignored there"
            remedy = 'set data.zero to "membrane" or "ignore", whichever is meant'
            yield Fault(InputError(f"{facts.box.field}.labels", share, "borders drawn in one way", remedy), False)


def _nothing_to_score(held_out: Sequence[DataFacts]) -> Iterator[Fault]:
    """A box with one object scores a network that joins everything as perfect."""
    for facts in held_out:
        if len(facts.sizes) < 2:
            remedy = "hold out a box with more objects"
            yield Fault(InputError(f"{facts.box.field}.labels", "one object", "several objects", remedy), False)


def _overlaps(training: Sequence[DataFacts], held_out: Sequence[DataFacts]) -> Iterator[Fault]:
    """A box that is scored must not be trained on."""
    for scored in held_out:
        for learned in training:
            if count := shared_voxels(learned.box, scored.box):
                found = f"{count} labelled voxels that {learned.box.field} holds, too"
                remedy = "change begin and end of one of them" + YES
                yield Fault(InputError(scored.box.field, found, "voxels that are not trained on", remedy), True)


def _shifted(facts: DataFacts) -> Iterator[Fault]:
    """Label borders must lie on the borders in the picture."""
    fit = facts.fit
    if fit is None:
        return
    field = f"{facts.box.field}.labels"
    if abs(fit.best) < FAINT:
        found = f"borders that differ from the rest of raw by {fit.here:+.2f} deviations"
        expected = f"borders that are darker or brighter, by {FAINT} at least"
        yield Fault(InputError(field, found, expected, "see that labels and raw are of the same place"), False)
    elif max(abs(step) for step in fit.move) > 1 and fit.share < DOUBTFUL_SHIFT:
        found = f"labels that fit raw better when moved by {list(fit.move)} voxels (zyx)"
        expected = f"label borders on the borders in raw (their contrast is {fit.here:+.2f}, moved {fit.best:+.2f})"
        remedy = "correct the place or the offset of the labels" + YES
        yield Fault(InputError(field, found, expected, remedy), fit.share < SHIFTED)


def _not_linked(facts: DataFacts) -> Iterator[Fault]:
    """An object must keep its label from section to section."""
    share = facts.linked_share
    if share is not None and share < DOUBTFUL_LINKED:
        found = f"{100 * share:.0f} % of the voxels with the same label in the next section"
        remedy = "link the labels of all sections" + YES
        error = InputError(f"{facts.box.field}.labels", found, "objects that run through several sections", remedy)
        yield Fault(error, share < LINKED)


def _out_of_range(config: TrainConfig, facts: DataFacts) -> Iterator[Fault]:
    """The normalisation `range` is for grey values of 0 to 255, which it maps to -1 to 1."""
    low, high = facts.look.grey[0], facts.look.grey[-1]
    if config.data.normalisation == "range" and (low < -1 or high > 1):
        found = f"grey values of {127.5 * (low + 1):.0f} to {127.5 * (high + 1):.0f}"
        remedy = 'set data.normalisation = "robust", or convert raw' + YES
        expected = 'values of 0 to 255, since data.normalisation is "range"'
        yield Fault(InputError(f"{facts.box.field}.raw", found, expected, remedy), True)


def _other_looks(
    training: Sequence[DataFacts], held_out: Sequence[DataFacts], begins_with: Look | None
) -> Iterator[Fault]:
    """Grey values must be like those of the other volumes, and of the data that the weights were trained on."""
    first = training[0]
    for facts in (*training[1:], *held_out):
        yield from _unlike(facts, first.look, first.box.field)
    if begins_with is not None:
        yield from _unlike(first, begins_with, "the data of model.weights")


def _unlike(facts: DataFacts, other: Look, name: str) -> Iterator[Fault]:
    look, field = facts.look, f"{facts.box.field}.raw"
    if look.borders is not None and other.borders is not None and look.borders * other.borders < 0:
        clear = min(abs(look.borders), abs(other.borders)) >= FAINT
        shade = "brighter" if look.borders > 0 else "darker"
        found = f"membranes {shade} than the rest by {abs(look.borders):.2f} deviations"
        error = InputError(field, found, f"dark and bright as in {name}", "invert raw, or leave it out" + YES)
        yield Fault(error, clear)
        return
    width = max(other.grey[-1] - other.grey[0], 1e-6)
    distance = float(np.abs(np.subtract(look.grey, other.grey)).max()) / width
    if distance > DOUBTFUL_GREY:
        found = f"normalised grey values of {look.grey[0]:.2f} to {look.grey[-1]:.2f}, median {look.grey[2]:.2f}"
        theirs = f"{other.grey[0]:.2f} to {other.grey[-1]:.2f}, median {other.grey[2]:.2f}"
        remedy = "give both the same contrast (see data.normalisation), or leave one out" + YES
        yield Fault(InputError(field, found, f"grey values as in {name}: {theirs}", remedy), distance > OTHER_GREY)


def _voxel_sizes(config: TrainConfig, training: Sequence[DataFacts]) -> Iterator[Fault]:
    """The size that the weights are said to be for must be that of the data; the network must suit their shape."""
    stated = config.geometry.voxel_size
    known = [facts.box for facts in training if facts.box.frame is not None]
    sizes = [box.frame.voxel_size for box in known if box.frame is not None]
    wrong = [not is_near(stated, size) for size in sizes]
    for box, size, differs in zip(known, sizes, wrong, strict=True):
        if differs:
            expected = f"the voxel size of {box.field}, {list(size)} nm, within {VOXEL_SIZE_TOLERANCE:.0%}"
            remedy = f"set geometry.voxel_size = {list(size)}" + YES
            yield Fault(InputError("geometry.voxel_size", list(stated), expected, remedy), all(wrong))
    strides = np.prod(config.network().fine.strides, axis=0)
    if known and strides[0] == strides[1] and not any(box.isotropic for box in known):
        found = f"{config.model.preset!r}, which halves z as often as y and x"
        expected = f"a network for thin sections, as voxels are more than {ISOTROPY} times as long as wide"
        remedy = 'set model.preset = "nano-sections" (docs/guides/train-on-sections.md)'
        yield Fault(InputError("model.preset", found, expected, remedy), False)
