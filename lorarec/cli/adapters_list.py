"""`lorarec adapters list`: the adapters of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lorarec.cli.output import print_json, print_table, say
from lorarec.cli.shared import CONTEXT, json_option

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.tracking import RunInfo

_BASE_SHOWN = 6


@click.command("list", context_settings=CONTEXT)
@click.option("--domain", metavar="D", help="Of this domain alone.")
@click.option("--base", metavar="URI", help="Of this base alone.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N")
@json_option
@click.pass_obj
def list_(
    settings: Settings, domain: str | None, base: str | None, limit: int, as_json: bool
) -> None:
    """List adapters, newest first: domain, base, targets, size, recall of validation, when.

    The kind says how one was made: adapt trained it, full is full fine-tuning of the same rows, and
    sum, truncate and quantize computed it from others; peft-import took it from PEFT.

    \b
    Example:
      lorarec adapters list
      lorarec adapters list --domain books --json
    """
    from lorarec.jobs.describe_adapter import list_adapters
    from lorarec.tracking.database import NoStoreYetError
    from lorarec.tracking.store import open_store

    found: list[RunInfo] = []
    try:
        store = open_store(settings.tracking, write=False)
        found = list_adapters(store, domain, base, limit)
    except NoStoreYetError as error:
        say(str(error))
    else:
        if not found:
            of = f" of {domain!r}" if domain else ""
            named = domain or "D"
            say(f"No adapters{of} yet. Make one with: lorarec adapt --domain {named} --rank 8")
    if as_json:
        print_json([_record(info) for info in found])
    elif found:
        print_table(
            ("kind", "domain", "base", "targets", "kB", "recall", "when", "run"),
            [_row(info) for info in found],
            title="recall: of validation, at 20; of one that was computed from another the change",
            whole=("kind", "base", "run"),
        )


def _row(info: RunInfo) -> tuple[object, ...]:
    stored = info.metrics.get("bytes_on_disk")
    return (
        info.kind,
        info.domain,
        (info.tag("base_digest") or "")[:_BASE_SHOWN],
        info.params.get("targets"),
        None if stored is None else round(stored / 1000),
        _recall(info) if (gain := _gain(info)) is None else f"{gain:+.4f}",
        info.started,
        info.run_id,
    )


def _recall(info: RunInfo) -> float | None:
    """Of validation, while it was trained or after it was made."""
    found = (info.metrics.get(f"{of}_recall_at_20") for of in ("valid", "evaluated"))
    return next((value for value in found if value is not None), None)


def _gain(info: RunInfo) -> float | None:
    """What was gained over the adapter it was computed from; None of one that was trained."""
    after, before = (info.metrics.get(f"{of}_recall_at_20") for of in ("evaluated", "parent"))
    return None if after is None or before is None else after - before


def _record(info: RunInfo) -> dict[str, object]:
    return {
        "uri": info.uri,
        "kind": info.kind,
        "domain": info.domain,
        "base_run": info.tag("base_run"),
        "base_digest": info.tag("base_digest"),
        "adapter_digest": info.tag("adapter_digest"),
        "targets": info.params.get("targets"),
        "rank": info.rank,
        "storage": info.params.get("storage", "fp32"),
        "bytes_on_disk": info.metrics.get("bytes_on_disk"),
        "parameters": info.metrics.get("parameters"),
        "valid_recall_at_20": info.metrics.get("valid_recall_at_20"),
        "parents": parents.split(",") if (parents := info.tag("parents")) else [],
        "evaluated_recall_at_20": info.metrics.get("evaluated_recall_at_20"),
        "parent_recall_at_20": info.metrics.get("parent_recall_at_20"),
        "started": info.started,
    }
