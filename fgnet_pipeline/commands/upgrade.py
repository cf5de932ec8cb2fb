"""`fgnet upgrade`: bring the metadata of an output up to date."""

from __future__ import annotations

import json

import typer

from fgnet_pipeline.commands.options import Json, Overrides, Result, Workers, configured_result, say


def upgrade_command(config: Result, set_: Overrides = None, workers: Workers = None, as_json: Json = False) -> None:
    """Add the names and units of axes to the arrays of an output of an earlier version.

    Only the metadata of arrays change. Nothing is computed again, and the output stays in its form.
    """
    from fgnet_pipeline.verification.upgrade import upgrade

    chosen = configured_result(config, set_, workers)
    found = upgrade(chosen)
    if as_json:
        typer.echo(json.dumps({"output": chosen.output.path, "added": {name: list(a) for name, a in found.items()}}))
        return
    for name, added in found.items():
        typer.echo(f"{name}: {'added ' + ' and '.join(added) if added else 'it has names and units'}")
    changed = sum(bool(added) for added in found.values())
    say(f"{changed} of {len(found)} arrays changed: {chosen.output.path}")
