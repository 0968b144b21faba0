"""`lorarec evaluate --protocol NAME`: ours beside what was published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from lorarec.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.jobs.protocol import ByProtocol


def by_protocol(
    settings: Settings,
    name: str,
    domain: str,
    base: str | None,
    adapter: str | None,
    candidates: Path | None,
    paths: Sequence[Path],
    as_json: bool,
) -> None:
    """Evaluate a domain by a published protocol and print it.

    Args:
        settings: With the command's options.
        name: Of the protocol.
        domain: Its name.
        base: URI of a base; None is the newest.
        adapter: URI of an adapter, or `none`; None is the domain's newest on the base.
        candidates: The lists, where the protocol has them.
        paths: Other logs than the base's.
        as_json: Print one JSON document.
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.protocol import evaluate_by, protocol_named
    from lorarec.tracking.store import open_store

    protocol_named(name)
    with listening() as listener:
        store = open_store(settings.tracking)
        found = evaluate_by(
            settings, name, domain, store, base, adapter, candidates, paths, listener
        )
    if as_json:
        print_json(_record(found))
        return
    protocol = found.protocol
    rows: list[tuple[object, ...]] = []
    for arm, own in found.results.items():
        cells = (f"{i.mean:.4f} [{i.low:.4f}, {i.high:.4f}]" for i in own.values())
        rows.append((arm, "ours", *cells))
    for method, values in found.published.items():
        cells = (f"{values[key]:.4f}" if key in values else "" for key in protocol.metrics)
        rows.append((method, "published", *cells))
    title = f"{found.domain}, {protocol.part}: {protocol.name}"
    print_table(["who", "", *protocol.metrics], rows, title=title, whole=("who",))
    say(f"{found.cases:,} cases. {protocol.caution}")
    say(f"Published: {protocol.citation}; read in: {protocol.source}.")
    say(f"Recorded as {found.run}.")


def _record(found: ByProtocol) -> dict[str, object]:
    protocol = found.protocol
    return {
        "protocol": protocol.name,
        "citation": protocol.citation,
        "source": protocol.source,
        "caution": protocol.caution,
        "domain": found.domain,
        "part": protocol.part,
        "cases": found.cases,
        "ours": {
            arm: {key: asdict(interval) for key, interval in own.items()}
            for arm, own in found.results.items()
        },
        "published": found.published,
        "run": found.run,
    }
