"""`lorarec adapt --all-domains` and `--domain A,B`: what is printed of many adapters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lorarec.cli.output import print_json, print_table, say
from lorarec.errors import TrainingError

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.jobs.adapt_domains import AdaptedDomains

METRIC = "valid_ndcg"


def adapt_many(
    settings: Settings,
    domains: str | None,
    base: str | None,
    paths: Sequence[Path],
    as_json: bool,
) -> None:
    """Train an adapter for each of many domains and print them all.

    Args:
        settings: With the command's options.
        domains: Names with commas between them; None is all of the logs.
        base: URI of a base; None is the newest.
        paths: Other logs than the base's.
        as_json: Print one JSON document.

    Raises:
        TrainingError: A domain could not be trained; the others have been printed.
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.adapt_domains import adapt_domains
    from lorarec.tracking.store import open_store

    with listening() as listener:
        store = open_store(settings.tracking)
        found = adapt_domains(settings, domains, store, base, paths, listener)
    if as_json:
        print_json(found.record())
    else:
        _print(found)
    if found.failed:
        raise TrainingError(
            f"{len(found.failed)} of {len(found.failed) + len(found.done)} domains could not be "
            f"adapted to: {', '.join(found.failed)}. The other adapters stand. Expected all to be "
            f"trained; what was wrong is said above and in domains.json of {found.run}"
        )
    if not as_json:
        say(f"Next: lorarec evaluate --domain {found.done[0].domain}")


def _print(found: AdaptedDomains) -> None:
    targets = {outcome.targets for outcome in found.done}
    shape = f"{targets.pop()}: " if len(targets) == 1 else ""
    print_table(
        ["domain", "train rows", "base nDCG", "adapted", "parameters", "kB", "s", "adapter"],
        [
            (
                outcome.domain,
                outcome.train_rows,
                outcome.untrained.get(METRIC),
                outcome.metrics.get(METRIC),
                outcome.parameters,
                round(outcome.bytes_on_disk / 1000),
                round(outcome.seconds),
                outcome.run,
            )
            for outcome in found.done
        ],
        title=f"{shape}{len(found.done)} adapters in {found.seconds:.1f} s, {found.run}",
        whole=("adapter",),
    )
