"""`lorarec adapt --all-domains` and `--domain A,B`: what is printed of many adapters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.output import print_json, print_table, say
from lorarec.errors import TrainingError

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.fanout.engines import EngineName
    from lorarec.jobs.adapt_domains import AdaptedDomains

METRIC = "valid_ndcg"


@dataclass(frozen=True)
class Asked:
    """The options that say where many domains are trained."""

    engine: EngineName | None
    workers: int | None
    address: str | None

    def check(self, many: bool) -> None:
        """Refuse options that do not go together.

        Args:
            many: Whether several domains are asked for.

        Raises:
            click.UsageError: They do not.
        """
        if self.engine is not None and not many:
            raise click.UsageError(
                f"--engine {self.engine} is for many domains. Expected --all-domains, or several "
                f"names with --domain."
            )
        if self.workers is not None and self.engine in (None, "serial"):
            raise click.UsageError(
                f"--workers {self.workers} goes with an engine that has some: --engine spawn or "
                f"--engine ray."
            )
        if self.address is not None and self.engine != "ray":
            raise click.UsageError(f"--address {self.address} goes with --engine ray.")


def adapt_many(
    settings: Settings,
    domains: str | None,
    base: str | None,
    paths: Sequence[Path],
    as_json: bool,
    asked: Asked,
) -> None:
    """Train an adapter for each of many domains and print them all.

    Args:
        settings: With the command's options.
        domains: Names with commas between them; None is all of the logs.
        base: URI of a base; None is the newest.
        paths: Other logs than the base's.
        as_json: Print one JSON document.
        asked: Where they are trained.

    Raises:
        TrainingError: A domain could not be trained; the others have been printed.
    """
    from lorarec.cli.listening import listening
    from lorarec.fanout.engines import engine_named
    from lorarec.jobs.adapt_domains import adapt_domains
    from lorarec.tracking.store import open_store

    name = asked.engine or "serial"
    threads = settings.train.threads or 1
    if name != "serial":  # one a worker: what comes out does not depend on how many there are
        settings = settings.with_options({"train.threads": threads})
    engine = engine_named(name, asked.workers, threads, asked.address)
    with listening() as listener:
        store = open_store(settings.tracking)
        found = adapt_domains(settings, domains, store, base, paths, listener, engine)
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
