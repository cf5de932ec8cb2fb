"""Fixtures of the tests of the evaluation."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fgnet_pipeline.commands import cli


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process; gives its exit code, standard output and standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.guarded(lambda: cli.app([str(a) for a in arguments], standalone_mode=False))
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return call
