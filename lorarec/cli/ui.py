"""`lorarec ui`: the MLflow UI on loopback, on the project's own store."""

from __future__ import annotations

import click

from lorarec.cli.output import say
from lorarec.config import Settings


@click.command()
@click.option(
    "--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="On 127.0.0.1."
)
@click.pass_obj
def ui(settings: Settings, port: int) -> None:
    """Open the MLflow UI on the project's own store; Ctrl-C ends it.

    \b
    Example:
      lorarec ui --port 5001
    """
    from lorarec.tracking.ui import serving, ui_address

    remote = ui_address(settings.tracking)
    if remote is not None:
        say(f"The runs are on an MLflow server already. Open {remote}")
        return
    say("Starting MLflow ...")
    with serving(settings.tracking, port) as server:
        say(f"MLflow is at {server.address} on {server.store}. Ctrl-C ends it.")
        server.wait()
