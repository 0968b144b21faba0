"""`lorarec ui`: the MLflow UI on loopback, on the project's own store."""

from __future__ import annotations

import os
import sys
import webbrowser

import click

from lorarec.cli.output import say
from lorarec.config import Settings


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="On 127.0.0.1."
)
@click.option(
    "--open/--no-open", "opens", default=None,
    help="Open the page in a browser.  [default: where there is a screen and a terminal]",
)  # fmt: skip
@click.pass_obj
def ui(settings: Settings, runs: tuple[str, ...], port: int, opens: bool | None) -> None:
    """Open the MLflow UI on the project's own store; Ctrl-C ends it.

    Its first page has all adapters side by side: recall against rank, size and seconds. With RUNs
    it has those alone; a run with others under it, such as a sweep over ranks, stands for them.

    \b
    Example:
      lorarec ui --port 5001
      lorarec ui runs:/0123456789abcdef0123456789abcdef
    """
    from lorarec.tracking.ui import serving, ui_address

    remote = ui_address(settings.tracking)
    if remote is not None:
        shown = f"{remote.rstrip('/')}/{_page(settings, runs)}" if runs else remote
        say(f"The runs are on an MLflow server already. Open {shown}")
        _open(shown, opens)
        return
    page = _page(settings, runs)
    say("Starting MLflow ...")
    with serving(settings.tracking, port) as server:
        say(f"MLflow is at {server.address} on {server.store}. Ctrl-C ends it.")
        say(f"Adapters side by side: {server.address}/{page}")
        _open(f"{server.address}/{page}", opens)
        server.wait()


def _page(settings: Settings, runs: tuple[str, ...]) -> str:
    """Where the page that shows them is, once the store has it arranged."""
    from lorarec.tracking import open_store
    from lorarec.tracking.database import ReadOnlyStoreError
    from lorarec.tracking.view import arranged_page

    try:
        store = open_store(settings.tracking)
    except ReadOnlyStoreError:
        store = open_store(settings.tracking, write=False)
    return arranged_page(store, runs)


def _open(address: str, opens: bool | None) -> None:
    """Open a page in a browser, if that is asked for or there is a person in front of a screen."""
    if opens is None:
        screen = sys.platform == "darwin" or any(
            map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY"))
        )
        opens = screen and sys.stderr.isatty()
    if opens and not webbrowser.open(address):
        say("No browser could be opened; open the address by hand.")
