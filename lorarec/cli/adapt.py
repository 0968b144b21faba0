"""`lorarec adapt`: one adapter for one domain, or one for each of many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.adapt_domains import Asked, adapt_many
from lorarec.cli.adapt_from import adapt_from
from lorarec.cli.adapt_ranks import adapt_ranks, print_curve
from lorarec.cli.options import overridden
from lorarec.cli.output import print_json, print_table, say
from lorarec.cli.shared import (
    CONTEXT,
    SHAPE,
    base_option,
    data_option,
    device_option,
    json_option,
    seed_option,
)

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.fanout.engines import EngineName


@click.command(context_settings=CONTEXT)
@click.option("--domain", metavar="D[,D]", help="The domain's name, or several names.")
@click.option("--all-domains", is_flag=True, help="An adapter for every domain of the logs.")
@click.option(
    "--rank", metavar="R|R,R|auto",
    help="Rank of every target; several for an adapter of each; or auto.  [default: 8]",
)  # fmt: skip
@base_option
@click.option(
    "--targets", metavar="LIST",
    help="What adapts, such as items:8,users:4,transform:8,bias; a rank here wins over --rank, "
    "and items:8:2 has an alpha of 2. "
    "`lorarec targets` lists all.",
)  # fmt: skip
@click.option(
    "--from", "from_adapter", metavar="ADAPTER",
    help="Go on from an adapter with rows that are new to it: a domain, a run, or a folder.",
)  # fmt: skip
@click.option(
    "--freeze-shared", is_flag=True,
    help="With --from, leave alone what rows share: ids without a new row keep their vectors.",
)  # fmt: skip
@data_option
@click.option("--epochs", type=int, help="Passes over the domain's train rows, at most.")
@seed_option
@device_option
@click.option(
    "--engine", type=click.Choice(["serial", "spawn", "ray"]),
    help="Where many domains are trained: one after another in this process, in several of this "
    "machine, or on Ray.  [default: serial]",
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N",
    help="Processes of the engine.  [default: one a core]",
)  # fmt: skip
@click.option("--address", metavar="A", help="Of a Ray cluster; without it Ray runs here.")
@json_option
@click.pass_obj
def adapt(
    settings: Settings,
    domain: str | None,
    all_domains: bool,
    rank: str | None,
    base: str | None,
    targets: str | None,
    from_adapter: str | None,
    freeze_shared: bool,
    paths: tuple[Path, ...],
    epochs: int | None,
    seed: int | None,
    device: str | None,
    engine: EngineName | None,
    workers: int | None,
    address: str | None,
    as_json: bool,
) -> None:
    """Train a LoRA adapter for a domain, or one for each of many, on a frozen base.

    Without --targets: row LoRA on users and items, a transform of the items, an item bias of the
    domain, and full vectors for ids that the base has never seen. The step size is chosen on
    validation. A domain with fewer train rows than [data] min_domain_rows gets a warning. Layers of
    a two-tower base are targets too, by name or pattern, such as item_tower.*.

    Of many domains each gets the adapter that it would get alone, in a run under one for all. With
    --all-domains those below [data] min_domain_rows are passed over. One that diverges leaves the
    others as they are; then the exit code is 2 after all are done.

    --engine spawn trains as many domains at once as there are workers, each of [train] threads
    threads or of one; the adapters are those of --engine serial with as many threads, to the bit. A
    worker takes seconds to start and about 300 MB besides the base, which all share, so it pays
    where training takes minutes and cores are idle. --engine ray does the same on a cluster. The
    domain of a worker that is killed is begun again, three times at most.

    Of several ranks each is trained in a run of its own under one that compares them. With auto the
    largest useful rank is trained and truncated, and every target gets its smallest rank whose
    validation recall is within one standard error of the best, users paired. Either way the run has
    the curve as rank_curve.png, and a rank in --targets stays as it is. Later commands take the
    adapter that was chosen.

    --from goes on from an adapter, in its shape: rows that it was not trained on yet, of --data or
    of what was appended to the prepared data set, train it further, held near where it began by
    [adapt] proximal. Entries of ids without a new row do not move.

    \b
    Example:
      lorarec adapt --domain books --rank 8
      lorarec adapt --all-domains --rank 8
      lorarec adapt --all-domains --engine spawn --workers 4
      lorarec adapt --domain books --rank auto
      lorarec adapt --domain books --rank 2,4,8,16
      lorarec adapt --domain games --targets items:4,bias
      lorarec adapt --domain books --from books --data data/new
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.adapt import adapt as job
    from lorarec.tracking.store import open_store

    if (domain is None) != all_domains:
        raise click.UsageError("Expected either --domain D or --all-domains.")
    asked = Asked(engine, workers, address)
    asked.check(many=domain is None or "," in domain)
    if from_adapter is None and freeze_shared:
        raise click.UsageError("--freeze-shared goes with --from ADAPTER, which is not there.")
    if from_adapter is not None:
        _check_shape(all_domains, rank, targets)
    settings = settings.with_options(
        {
            "adapt.rank": rank,
            "adapt.targets": targets,
            "adapt.epochs": epochs,
            "train.seed": seed,
            "train.device": device,
        }
    )
    if from_adapter is not None and domain is not None:
        adapt_from(settings, domain, from_adapter, base, paths, freeze_shared, as_json)
        return
    if domain is None or "," in domain:
        adapt_many(settings, domain, base, paths, as_json, asked)
        return
    if isinstance(settings.adapt.rank, tuple):
        adapt_ranks(settings, domain, base, paths, as_json)
        return
    with listening() as listener:
        done = job(settings, domain, open_store(settings.tracking), base, paths, listener)
    info, size = done.adapter.info, done.size
    before, after = done.untrained, info.metrics
    result = {
        "run": done.run,
        "domain": domain,
        "targets": info.config.describe(),
        "adapter_digest": info.digest,
        "base_digest": info.base_digest,
        "parameters": size.parameters,
        "parameters_factors": size.factors,
        "parameters_grown": size.grown,
        "parameters_full": size.full,
        "learning_rate": info.learning_rate,
        "best_epoch": done.history.best_epoch,
        "seconds": done.seconds,
        "bytes_on_disk": done.stored,
        "untrained": before,
        "metrics": after,
        "warnings": done.warnings,
        "ranks": done.decision.record() if done.decision else None,
    }
    if as_json:
        print_json(result)
        return
    print_table(
        ["adapter", "targets", "parameters", "of full", "kB on disk", "seconds"],
        [
            (
                done.run,
                info.config.describe(),
                size.parameters,
                f"{size.share_of_full:.1%}",
                round(done.stored / 1000),
                round(done.seconds, 1),
            )
        ],
        whole=("adapter",),
    )
    if done.decision:
        print_curve(done.decision.curve)
    print_table(
        ["validation", "recall@20", "nDCG"],
        [
            (name, metrics.get("valid_recall_at_20"), metrics.get("valid_ndcg"))
            for name, metrics in (("base, untrained adapter", before), ("adapted", after))
        ],
    )
    say(f"Next: lorarec evaluate --domain {domain}")


def _check_shape(all_domains: bool, rank: str | None, targets: str | None) -> None:
    """Refuse what `--from` leaves no choice of."""
    if all_domains:
        raise click.UsageError("--from goes on from one adapter. Expected --domain D with it.")
    for name, value in (("--rank", rank), ("--targets", targets)):
        if value is not None:
            raise click.UsageError(
                f"{name} {value} stands beside --from, and rank, targets and alpha are those of "
                f"its adapter. Leave it out; `lorarec adapters truncate` makes a smaller rank, and "
                f"a larger one, or other targets, begin anew: lorarec adapt without --from."
            )
    if text := overridden((*SHAPE, "adapt.grown_ridge")):
        raise click.UsageError(
            f"--set {text} stands beside --from, and rank, targets and alpha are those of its "
            f"adapter, and its new ids begin at their neighbours. Leave it out, or begin anew: "
            f"lorarec adapt without --from."
        )
