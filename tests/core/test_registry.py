"""Objects are found in a package and in an installed distribution, or the reason against one is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from installed import forget, install

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.registry import discover

GROUP = "fgnet_pipeline.test_colours"
KIND = """
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Colour:
        name: str
"""
GREEN = """
    from toy_kind import Colour
    GREEN, SECOND_RED, NOT_A_COLOUR = Colour("green"), Colour("red"), 7
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with the colours red and blue, and one module without a colour."""
    root = tmp_path / "own" / "toy_colours"
    root.mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "red.py").write_text("from toy_kind import Colour\nCOLOUR = Colour('red')\n")
    (root / "blue.py").write_text("from toy_kind import Colour\nCOLOUR = Colour('blue')\n")
    (root / "mixing.py").write_text("SHADE = 1\n")
    forget(monkeypatch, "toy_colours", "toy_colours.red", "toy_colours.blue", "toy_colours.mixing")
    monkeypatch.syspath_prepend(str(root.parent))
    return "toy_colours"


def colours(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, points: dict[str, str]) -> dict:
    install(tmp_path, monkeypatch, GROUP, points, {"toy_kind": KIND, "toy_green": GREEN})
    from toy_kind import Colour  # type: ignore[import-not-found]

    return discover(package, "COLOUR", GROUP, Colour)


def test_the_package_comes_before_entry_points(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = colours(package, tmp_path, monkeypatch, {"any": "toy_green:GREEN"})
    assert list(found) == ["blue", "red", "green"]
    assert all(found[name].name == name for name in found)


def test_the_package_alone_is_enough(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(colours(package, tmp_path, monkeypatch, {})) == ["blue", "red"]


@pytest.mark.parametrize(
    "target, message",
    [
        ("toy_green:SECOND_RED", r"red = toy_green:SECOND_RED'.*toy_colours\.red:COLOUR is called 'red' too"),
        ("toy_green:NOT_A_COLOUR", r"class toy_kind\.Colour, not int"),
        ("toy_green:MISSING", r"can be loaded \(AttributeError"),
        ("toy_nowhere:GREEN", r"can be loaded \(ModuleNotFoundError"),
    ],
)
def test_an_entry_point_that_cannot_be_used_is_refused(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as refused:
        colours(package, tmp_path, monkeypatch, {"red": target})
    assert refused.value.field == GROUP and refused.value.value == f"red = {target}"
