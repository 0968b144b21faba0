"""`lorarec rollback`: an earlier champion serves again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lorarec.cli.output import print_json, say
from lorarec.cli.shared import CONTEXT, domain_option, json_option

if TYPE_CHECKING:
    from lorarec.config import Settings


@click.command(context_settings=CONTEXT)
@domain_option
@click.option(
    "--to", metavar="VERSION",
    help="A champion of before, or base for the bare base.  [default: the one before]",
)  # fmt: skip
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the history.")
@json_option
@click.pass_obj
def rollback(settings: Settings, domain: str, to: str | None, reason: str, as_json: bool) -> None:
    """Make the champion before the one that serves the champion again.

    It is loaded and checked first, and scores as it did, to the bit. Rolling back again goes one
    further: what was rolled back from is not gone back to.

    \b
    Example:
      lorarec rollback --domain books
      lorarec rollback --domain books --to 3 --reason "complaints since Monday"
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.champion import rollback as job
    from lorarec.tracking.store import open_store

    with listening() as listener:
        found = job(open_store(settings.tracking), domain, to, reason, listener)
    if as_json:
        print_json(
            {
                "domain": found.domain,
                "champion": found.version,
                "champion_before": found.before,
                "reason": found.reason,
            }
        )
    shown = [f"version {v}" if v else "the bare base" for v in (found.version, found.before)]
    say(
        f"{shown[0].capitalize()} serves {domain} again, in place of {shown[1]}. See: lorarec "
        f"history --domain {domain}"
    )
