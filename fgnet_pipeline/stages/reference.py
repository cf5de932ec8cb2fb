"""Write the reference of all stages from their descriptions: `python -m fgnet_pipeline.stages.reference`."""

from __future__ import annotations

import sys

from fgnet_pipeline.stages.registry import stages
from fgnet_pipeline.stages.stage import Stage, TableOutput

HEADER = """# Stages

What each stage reads and writes. This page is written by `python -m fgnet_pipeline.stages.reference`, from the same
descriptions that run, plan, verify and status use; `docs/guides/add-a-stage.md` says how to add one.
"""


def reference() -> str:
    """The text of the page `docs/reference/stages.md`."""
    return "\n".join([HEADER, *(_section(stage) for stage in stages().values())])


def _section(stage: Stage) -> str:
    lines = [f"## {stage.name}", "", stage.summary, "", *_facts(stage)]
    for table in stage.tables:
        lines += ["", *_table(table)]
    return "\n".join([*lines, ""])


def _facts(stage: Stage) -> list[str]:
    facts = [f"- after: {', '.join(stage.after) or 'nothing, it is the first'}"]
    if stage.array is not None:
        facts.append(f"- array: `{stage.array.name}`, {stage.array.dtype}")
    facts.append(f"- options: `[schedule.{stage.schedule}]`; format {stage.format_version}")
    if stage.lanes > 1:
        facts.append(f"- a worker handles {stage.lanes} blocks at a time")
    return facts


def _table(table: TableOutput) -> list[str]:
    rows = [f"| `{name}` | {dtype} | |" for name, dtype in table.columns.items()]
    rows += [
        f"| `{name}` | {dtype} | only if the configuration asks for it |" for name, dtype in table.optional.items()
    ]
    title = f"Table `{table.kind}` (redo `{table.redo}` if one is damaged):"
    return [title, "", "| column | type | |", "|---|---|---|", *rows]


if __name__ == "__main__":
    sys.stdout.write(reference())
