"""`lorarec pipeline serve`: a retraining at every moment of a line of cron."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lorarec.cli.options import given
from lorarec.cli.output import say
from lorarec.cli.shared import CONTEXT
from lorarec.config import Settings


@click.command(context_settings=CONTEXT)
@click.option(
    "--cron", metavar="LINE",
    help='When, as five fields of cron in UTC, such as "0 3 * * *".  [default: pipeline.cron]',
)  # fmt: skip
@click.pass_obj
def serve(settings: Settings, cron: str | None) -> None:
    """Retrain at every moment of a line of cron; needs no other scheduler, and Ctrl-C ends it.

    After a restart it knows from the journal what was missed: missed moments are made up for by one
    retraining at once, and one that was broken off is gone on with. Each retraining is a process of
    its own, `lorarec pipeline run` with the same --config and --set, and reads the settings anew;
    one that fails does not end the server. SIGTERM and Ctrl-C stop a running one first.

    \b
    Example:
      lorarec pipeline serve --cron "0 3 * * *"
    """
    from lorarec.jobs.listener import Listener
    from lorarec.pipeline.serve import run_child
    from lorarec.pipeline.serve import serve as job

    pipeline = settings.with_options({"pipeline.cron": cron}).pipeline
    command = [sys.executable, "-m", "lorarec", "pipeline", "run", *given()]
    try:
        job(Path(pipeline.work), pipeline.cron, lambda: run_child(command), Listener(say))
    except KeyboardInterrupt:
        say("Ended.")
