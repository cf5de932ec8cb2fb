"""Which options of sbatch a configuration may add: all but those that the pipeline sets itself.

sbatch reads options with getopt_long: a long option may be abbreviated, a value may follow a short option without a
space (`-a0-3`), and short options without a value may share a dash (`-HJname`).
Source: sbatch(1) of Slurm 22.05.
"""

from __future__ import annotations

import re

from fgnet_pipeline.core.errors import InputError

#: Options that the pipeline sets, or with which sbatch submits nothing -> their letter, or "" if they have none.
OWN_OPTIONS = {
    "--array": "a", "--begin": "b", "--chdir": "D", "--comment": "", "--dependency": "d", "--error": "e", "--help": "h",
    "--hold": "H", "--input": "i", "--job-name": "J", "--kill-on-invalid-dep": "", "--no-requeue": "",
    "--open-mode": "", "--output": "o", "--parsable": "", "--requeue": "", "--signal": "", "--test-only": "",
    "--usage": "u", "--version": "V", "--wait": "W", "--wrap": "",
}  # fmt: skip
#: Letters of options without a value; another option could follow on the same dash.
_FLAGS = "OQsv"
_FIELD = "schedule.slurm.options"
_SHAPE = re.compile(r"--[a-z][a-z0-9-]*(=.*)?|-[A-Za-z].*", re.DOTALL)


def check_option(option: str) -> None:
    """Refuse what is not one option of sbatch, and an option that the pipeline sets itself.

    Raises:
        InputError: the sentence names the option.
    """
    if not _SHAPE.fullmatch(option):
        raise InputError(_FIELD, option, "one option of sbatch per entry", "write it as --name=value")
    if option.startswith("--"):
        name = option.partition("=")[0]
        # sbatch accepts abbreviations: --arr means --array.
        own = next((own for own in OWN_OPTIONS if own.startswith(name)), None)
    else:
        letter, value = option[1], option[2:]
        own = next((own for own, short in OWN_OPTIONS.items() if short == letter), None)
        if own is None and ((value[:1] in ("=", " ") and value) or (letter in _FLAGS and value)):
            raise InputError(_FIELD, option, "one option of sbatch per entry", "write it as --name=value")
    if own is not None:
        expected = f"an option that fgnet does not set itself (sbatch reads it as {own})"
        raise InputError(_FIELD, option, expected, "leave it out")
