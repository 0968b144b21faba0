"""`lorarec pipeline ui`: Dagster's page on loopback, with what every retraining did."""

from __future__ import annotations

import sys
import webbrowser

import click

from lorarec.cli.output import say
from lorarec.cli.shared import CONTEXT
from lorarec.config import Settings


@click.command(context_settings=CONTEXT)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="On 127.0.0.1."
)
@click.option("--no-open", is_flag=True, help="Do not open the page in a browser.")
@click.pass_obj
def ui(settings: Settings, port: int, no_open: bool) -> None:
    """Open Dagster's page on the retraining: lineage, domains, verdicts, schedule; Ctrl-C ends it.

    It needs the extra: pip install 'lorarec[pipelines]'. What `lorarec pipeline run` did is shown,
    too: the newest retrainings of the history are brought over. The schedule of [pipeline] cron is
    off until it is turned on there; leave it off where something else starts the retraining.

    \b
    Example:
      lorarec pipeline ui --port 3001
    """
    from lorarec.cli.listening import listening
    from lorarec.pipeline.ui import serving

    say("Starting Dagster ...")
    with listening() as listener, serving(settings, port, listener) as page:
        say(f"Dagster is at {page.address} on {page.home}. Ctrl-C ends it.")
        if not no_open and sys.stderr.isatty():
            webbrowser.open(page.address)
        page.wait()
