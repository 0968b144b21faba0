"""`lorarec history`: what has served a domain, and what the gate said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lorarec.cli.output import print_json, print_table, say
from lorarec.cli.shared import CONTEXT, domain_option, json_option

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.jobs.champion import Entry, History


@click.command(context_settings=CONTEXT)
@domain_option
@json_option
@click.pass_obj
def history(settings: Settings, domain: str, as_json: bool) -> None:
    """Show what has served a domain, newest first: promotions, rollbacks, and what was refused.

    A metric is that of the gate, with its interval, of the version that the row is about.

    \b
    Example:
      lorarec history --domain books
    """
    from lorarec.jobs.champion import history as job
    from lorarec.tracking.store import open_store

    found = job(open_store(settings.tracking, write=False), domain)
    if as_json:
        print_json(_record(found))
        return
    print_table(
        ("when", "what", "version", "measured", "verdict", "base", "reason"),
        [_row(found, entry) for entry in found.entries],
        title=domain,
        whole=("when",),
    )
    now = found.reign
    serves = f"models:/{_name(domain)}/{now.version}" if now.version else "the bare base"
    challenger = f"version {now.challenger}" if now.challenger else "none"
    say(f"Champion: {serves}. Challenger: {challenger}.")


def _name(domain: str) -> str:
    from lorarec.tracking.model_names import model_name

    return model_name(domain)


def _row(found: History, entry: Entry) -> tuple[object, ...]:
    version = found.versions.get(entry.version) if entry.version else None
    named = "bare base" if entry.version is None else str(entry.version)
    base = version.tag("base_version") if version else None
    return (
        entry.at,
        entry.what,
        named,
        _measured(found, entry.version),
        version.tag("decision") if version else None,
        base.rpartition("/")[2] if base else None,
        entry.reason or None,
    )


def _measured(found: History, number: int | None) -> str | None:
    verdict = found.verdict(number) if number else None
    if verdict is None:
        return None
    interval = verdict["arms"]["challenger"]
    return f"{interval['mean']:.4f} [{interval['low']:.4f}, {interval['high']:.4f}]"


def _record(found: History) -> dict[str, object]:
    return {
        "domain": found.reign.domain,
        "champion": found.reign.version,
        "challenger": found.reign.challenger,
        "history": [
            {
                "at": entry.at,
                "what": entry.what,
                "version": entry.version,
                "by": entry.by or None,
                "reason": entry.reason or None,
            }
            for entry in found.entries
        ],
        "versions": [
            {
                "version": version.number,
                "uri": version.uri,
                "registered": version.registered,
                "run": version.run_id,
                "digest": version.tag("digest"),
                "base_version": version.tag("base_version"),
                "base_digest": version.tag("base_digest"),
                "verdict": found.verdict(version.number),
            }
            for version in found.versions.values()
        ],
    }
