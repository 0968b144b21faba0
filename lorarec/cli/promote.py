"""`lorarec promote`: an adapter is brought to the gate, and serves where that says yes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.output import NOTHING, print_json, print_table, say
from lorarec.cli.shared import (
    CONTEXT,
    GATE_SAID_NO,
    base_option,
    data_option,
    domain_option,
    json_option,
)

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.evaluation.gate import Check, Verdict
    from lorarec.jobs.promote import Promoted


@click.command(context_settings=CONTEXT)
@domain_option
@click.option(
    "--adapter", metavar="URI", help="An adapter.  [default: the domain's newest on the base]"
)
@base_option
@click.option(
    "--challenger", "challenger_only", is_flag=True,
    help="Register it as the challenger and ask nothing.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Promote it whatever the gate says; needs --reason.")
@click.option("--reason", metavar="TEXT", help="Why it is forced; kept in the history.")
@data_option
@json_option
@click.pass_obj
def promote(
    settings: Settings, domain: str, adapter: str | None, base: str | None, challenger_only: bool,
    force: bool, reason: str | None, paths: tuple[Path, ...], as_json: bool,
) -> int:  # fmt: skip
    """Bring an adapter to the gate; where it says yes, the alias champion moves to it.

    The adapter is registered as a version of lorarec-<domain> and its base as one of lorarec-base,
    with the verdict. [gate] in lorarec.toml says what is asked: which metric must be above that of
    the champion and of the bare base, on the same users, and how large, slow or uneven an adapter
    may be. A no ends with exit code 1; the version is the challenger then, and all else stays.

    \b
    Example:
      lorarec promote --domain books
      lorarec promote --domain books --adapter models:/lorarec-books@challenger --json
      lorarec promote --domain books --force --reason "the old one recommends withdrawn items"
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.promote import promote as job
    from lorarec.tracking.store import open_store

    if force != bool((reason or "").strip()):
        raise click.UsageError(
            "--force needs --reason TEXT, and --reason is for --force. Expected both or neither."
        )
    if force and challenger_only:
        raise click.UsageError("--challenger promotes nothing. Expected it, or --force.")
    with listening() as listener:
        store = open_store(settings.tracking)
        found = job(
            settings, domain, store, adapter, base, paths,
            challenger_only=challenger_only, force=reason if force else None, listen=listener,
        )  # fmt: skip
    if as_json:
        print_json(_record(found))
    elif found.verdict is not None:
        print_verdict(found.verdict, domain, settings.gate.part)
    say(_outcome(found))
    return GATE_SAID_NO if found.refused else 0


def print_verdict(verdict: Verdict, domain: str, part: str) -> None:
    """The reasons as a table."""
    rows = [_row(check) for check in verdict.checks]
    title = f"{domain}, {part}: {verdict.metric} of {verdict.users:,} users"
    print_table(["asked", "measured", "interval", "bound", "verdict"], rows, title=title)


def _row(check: Check) -> tuple[object, ...]:
    word = {True: "yes", False: "no", None: NOTHING}[check.passed]
    interval = None if check.low is None else f"[{check.low:+.4f}, {check.high:+.4f}]"
    measured = None if check.found is None else f"{check.found:+.4f}"
    if check.name in ("size", "latency"):
        measured = f"{check.found:,.0f}" if check.name == "size" else f"{check.found:.3f}"
    return (
        check.name,
        measured,
        interval,
        check.asked,
        f"{word} ({check.why})" if check.why else word,
    )


def _outcome(found: Promoted) -> str:
    """What became of it, as one sentence or two."""
    uri, verdict = found.version.uri, found.verdict
    was = f"version {found.before}" if found.before else "the bare base"
    if found.outcome == "already":
        return f"{uri} is the champion of {found.domain} already. Nothing was done."
    if found.outcome == "registered":
        return (
            f"Registered as {uri}, the challenger; {was} serves on. To ask the gate: lorarec "
            f"promote --domain {found.domain} --adapter {uri}"
        )
    if not found.refused:
        by = "by force" if found.outcome == "force" else "the gate said yes"
        return (
            f"{uri} is the champion of {found.domain} ({by}); before it {was} served. To go back: "
            f"lorarec rollback --domain {found.domain}"
        )
    assert verdict is not None
    reasons = ", ".join(check.name for check in verdict.failed)
    more = ""
    if verdict.decision == "keep-base" and found.before:
        more = (
            f" The bare base is better than the champion too; to let it serve: lorarec rollback "
            f"--domain {found.domain} --to base"
        )
    return (
        f"The gate said no: {reasons}. Verdict: {verdict.decision}. {uri} is the challenger; {was} "
        f"serves on.{more}"
    )


def _record(found: Promoted) -> dict[str, object]:
    return {
        "domain": found.domain,
        "outcome": found.outcome,
        "version": found.version.number,
        "uri": found.version.uri,
        "adapter_run": found.version.run_id,
        "base_version": found.version.tag("base_version"),
        "champion_before": found.before,
        "run": found.run,
        "verdict": found.verdict.to_json() if found.verdict else None,
    }
