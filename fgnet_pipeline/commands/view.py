"""`fgnet view`: show a result in Neuroglancer."""

from __future__ import annotations

import contextlib
import getpass
import json
import socket
from typing import TYPE_CHECKING, Annotated

import typer

from fgnet_pipeline.commands.options import Overrides, Result, Workers, configured_result, say
from fgnet_pipeline.core.errors import InputError

if TYPE_CHECKING:
    from fgnet_pipeline.core.config import Config
    from fgnet_pipeline.views.server import ViewServer
    from fgnet_pipeline.views.view import View


def view_command(
    result: Result,
    set_: Overrides = None,
    workers: Workers = None,
    at: Annotated[str | None, typer.Option("--at", metavar="Z,Y,X", help="Centre on this voxel.")] = None,
    segment: Annotated[
        str | None, typer.Option("--segment", metavar="ID", help="Select this segment and centre on it.")
    ] = None,
    labels: Annotated[str | None, typer.Option("--labels", help="Zarr array of labels to show, too.")] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.1. 0 takes a free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address, but open no browser.")] = False,
    link: Annotated[
        bool, typer.Option("--link", help="Print the state for a Neuroglancer of your own, and serve nothing.")
    ] = False,
    base_url: Annotated[
        list[str] | None,
        typer.Option("--base-url", metavar="[FOLDER=]URL", help="With --link: where the lab serves FOLDER, or else "
                     "the output. May be repeated."),
    ] = None,
    neuroglancer: Annotated[
        str | None,
        typer.Option("--neuroglancer", metavar="URL", help="With --link: print an address of this Neuroglancer."),
    ] = None,
) -> None:  # fmt: skip
    """Show raw, affinities, fragments, segmentation and labels in Neuroglancer, also while a run goes on."""
    if not link and (base_url or neuroglancer):
        option, value = ("--base-url", base_url) if base_url else ("--neuroglancer", neuroglancer)
        raise InputError(option, value, "no such option without --link", "add --link")
    config = configured_result(result, set_, workers)
    from fgnet_pipeline.views.view import open_view

    view = open_view(config, labels, at, segment)
    if link:
        _print_link(view, config, base_url or [], neuroglancer)
        return
    from fgnet_pipeline.views.server import view_server

    with view_server(view, port) as server:
        _serve(server, view, config, no_browser)


def _serve(server: ViewServer, view: View, config: Config, no_browser: bool) -> None:
    """Serve until an interrupt; the address is the one line on standard output."""
    import threading

    from fgnet_pipeline.core.signals import interrupts_later
    from fgnet_pipeline.views.browser import has_display, opened
    from fgnet_pipeline.views.completeness import notes

    server.start()
    typer.echo(server.url)
    with opened(server.url) if has_display() and not no_browser else contextlib.nullcontext():
        say(f"from another machine: ssh -N -L {server.port}:127.0.0.1:{server.port} {_login()}")
        say("then open the address above there; who knows it can read the arrays of this view, but change nothing")
        for name, note in notes(config, view.found).items():
            say(f"{name}: {note}")
        with interrupts_later():  # the key may come at once, and a write that is interrupted is repeated
            say("Ctrl-C ends the view")
        threading.Event().wait()


def _login() -> str:
    """This user and machine, as `ssh` names them."""
    try:
        user = f"{getpass.getuser()}@"
    except (KeyError, OSError):  # a user without a name
        user = ""
    return f"{user}{socket.gethostname()}"


def _print_link(view: View, config: Config, base_url: list[str], neuroglancer: str | None) -> None:
    """Print a state that finds the arrays where the lab serves them."""
    from fgnet_pipeline.core.viewer_state import fragment_of
    from fgnet_pipeline.views.link import base_urls, linked

    bases = base_urls(base_url, config.output.path)
    state = view.state(lambda layer: linked(layer, bases))
    shown = [layer["name"] for layer in state["layers"]]
    if not shown:
        raise InputError("--base-url", base_url or None, "an address below which a browser can read the arrays",
                         "e.g. --base-url https://data.lab.org/fish.zarr")  # fmt: skip
    for layer in view.found.layers:
        if layer.name not in shown:
            say(f"{layer.name} is left out: a browser elsewhere cannot read {layer.path} (see --base-url)")
    typer.echo(json.dumps(state) if neuroglancer is None else f"{neuroglancer.rstrip('/')}/{fragment_of(state)}")
