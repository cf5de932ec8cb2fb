"""Keys of blocks: the same for a whole grid and for one block alone, and changed only by what changes the block."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgnet_pipeline.core.geometry import Box, Grid, Vector, indices, vector
from fgnet_pipeline.core.plan import Plan, format_key
from fgnet_pipeline.core.task import Task

shapes = st.tuples(*[st.integers(3, 9)] * 3)
contexts = st.tuples(*[st.integers(0, 12)] * 3)
BOUNDS = Box((0, 0, 0), (41, 38, 35))


def make_plan(roi: Box, blocks: list[Vector], context: Vector, **changes: Any) -> Plan:
    """Three tasks in a row, each with its own block shape.

    Args:
        changes: per name of a task, its version in the fingerprint if not 1.
    """
    names = ("a", "b", "c")
    tasks = []
    for i, name in enumerate(names):
        reads = BOUNDS if i == 0 else roi
        fingerprint = {"version": changes.get(name, 1)}
        upstream = names[i - 1 : i] if i else ()
        tasks.append(Task(name, name, Grid(blocks[i]), context, context, reads, upstream, fingerprint))
    return Plan(roi, tasks)


@st.composite
def regions(draw: Any) -> Box:
    begin = draw(st.tuples(*[st.integers(0, 15)] * 3))
    extent = draw(st.tuples(*[st.integers(1, 20)] * 3))
    return Box(begin, vector(np.add(begin, extent)))


def keys_of(plan: Plan, name: str) -> dict[Vector, int]:
    keys = plan.all_keys(name)
    blocks = plan.blocks(name)
    return {b: int(keys[tuple(np.subtract(b, blocks.begin))]) for b in indices(blocks)}


@settings(max_examples=30, deadline=None)
@given(regions(), st.lists(shapes, min_size=3, max_size=3), contexts)
def test_one_block_alone_has_the_key_that_the_whole_grid_gives(roi: Box, blocks: list[Vector], context: Vector) -> None:
    whole, alone = make_plan(roi, blocks, context), make_plan(roi, blocks, context)
    for name in "abc":
        for block, key in keys_of(whole, name).items():
            assert alone.identity(name, block)[0] == format_key(key)


@settings(max_examples=30, deadline=None)
@given(regions(), st.lists(shapes, min_size=3, max_size=3), contexts)
def test_keys_differ_between_blocks(roi: Box, blocks: list[Vector], context: Vector) -> None:
    plan = make_plan(roi, blocks, context)
    for name in "abc":
        keys = list(keys_of(plan, name).values())
        assert len(set(keys)) == len(keys) and 0 not in keys


@settings(max_examples=30, deadline=None)
@given(regions(), regions(), st.lists(shapes, min_size=3, max_size=3), contexts)
def test_growth_changes_the_keys_of_the_blocks_that_see_it_and_no_others(
    roi: Box, other: Box, blocks: list[Vector], context: Vector
) -> None:
    grown = Box(vector(np.minimum(roi.begin, other.begin)), vector(np.maximum(roi.end, other.end)))
    numbers: dict[Any, int] = {}
    before, after = make_plan(roi, blocks, context), make_plan(grown, blocks, context)
    views = [Views(plan, numbers) for plan in (before, after)]
    for name in "abc":
        old, new = keys_of(before, name), keys_of(after, name)
        for block, key in old.items():
            assert (key == new[block]) == (views[0].of(name, block) == views[1].of(name, block))


class Views:
    """Everything that a block depends on: its regions, and the same of every block that it reads.

    Args:
        plan: of the blocks.
        numbers: one number per view, shared by the plans to compare.
    """

    def __init__(self, plan: Plan, numbers: dict[Any, int]) -> None:
        self.plan, self.numbers = plan, numbers
        self.known: dict[tuple[str, Vector], int] = {}

    def of(self, name: str, block: Vector) -> int:
        """The number of the view of a block."""
        if (name, block) not in self.known:
            self.known[name, block] = self.numbers.setdefault(self._view(name, block), len(self.numbers))
        return self.known[name, block]

    def _view(self, name: str, block: Vector) -> Any:
        task = self.plan.tasks[name]
        inputs = []
        for upstream in task.upstream:
            for index in indices(self.plan.tasks[upstream].grid.covering(task.read_box(block))):
                if self.plan.write_box(upstream, index):
                    inputs.append((index, self.of(upstream, index)))
        return task.read_box(block), self.plan.write_box(name, block), tuple(inputs)


@pytest.mark.parametrize("changed", list("abc"))
def test_a_fingerprint_changes_its_task_and_those_after_it(changed: str) -> None:
    blocks, context = [(5, 6, 7)] * 3, (1, 2, 3)
    old, new = make_plan(BOUNDS, blocks, context), make_plan(BOUNDS, blocks, context, **{changed: 2})
    for name in "abc":
        same = [keys_of(old, name)[b] == keys_of(new, name)[b] for b in indices(old.blocks(name))]
        assert all(same) if name < changed else not any(same)


@settings(max_examples=30, deadline=None)
@given(regions(), st.lists(shapes, min_size=3, max_size=3), contexts, st.integers(0, 2**32))
def test_blocks_that_read_a_flagged_block_are_found(roi: Box, blocks: list[Vector], context: Vector, seed: int) -> None:
    plan = make_plan(roi, blocks, context)
    upstream, wanted = plan.blocks("a"), plan.blocks("b")
    flags = np.random.default_rng(seed).random(upstream.shape) < 0.2
    found = plan.touching("b", "a", flags)
    for block in indices(wanted):
        read = plan.tasks["a"].grid.covering(plan.tasks["b"].read_box(block)).intersect(upstream)
        assert found[tuple(np.subtract(block, wanted.begin))] == flags[read.slices(upstream.begin)].any()


def test_the_key_of_one_block_asks_for_no_key_outside_the_region() -> None:
    """Of the group of a large block, 8 x 8 x 8, only one block touches the region: the others must cost nothing."""
    asked: list[Box] = []

    class Watched(Plan):
        def keys(self, name: str, blocks: Box) -> Any:
            asked.append(blocks)
            return super().keys(name, blocks)

    roi, nothing = Box((0, 0, 0), (160, 16, 16)), (0, 0, 0)
    small = Task("small", "small", Grid((16, 16, 16)), nothing, nothing, roi, (), {})
    large = Task("large", "large", Grid((256, 256, 256)), nothing, nothing, roi, ("small",), {})
    watched, plan = Watched(roi, [small, large]), Plan(roi, [small, large])
    assert watched.identity("large", nothing)[0] == format_key(keys_of(plan, "large")[nothing])
    assert asked == [Box((0, 0, 0), (10, 1, 1))]
