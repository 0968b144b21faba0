"""`lorarec pretrain`: one base over all domains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.output import print_json, print_table, say
from lorarec.cli.shared import (
    CONTEXT,
    device_option,
    epochs_option,
    items_option,
    json_option,
    logs_option,
    seed_option,
    split_option,
    users_option,
)

if TYPE_CHECKING:
    from lorarec.config import Settings


@click.command(context_settings=CONTEXT)
@logs_option
@click.option(
    "--model", type=click.Choice(["mf", "two-tower", "als", "bpr"]),
    help="Matrix factorization; towers over features and history too; or ALS or BPR of implicit.  "
    "[default: mf]",
)  # fmt: skip
@users_option
@items_option
@click.option("--dim", type=int, help="Length of a vector.  [default: 128]")
@click.option(
    "--exclude-domain", "exclude", multiple=True, metavar="D",
    help="Keep a domain out of training, validation and vocabularies; may be repeated.",
)  # fmt: skip
@split_option
@epochs_option
@click.option(
    "--checkpoint", "folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Save the training here on the way; Ctrl-C saves too.",
)  # fmt: skip
@click.option(
    "--checkpoint-every", "every", metavar="STEPS|MINUTES",
    help="How often, such as 500 (steps) or 10m.  [default: 10m]",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in DIR, if there is one.")
@click.option(
    "--shard-tables", is_flag=True,
    help="Under torchrun: each process holds some rows of the tables, not all of them.",
)  # fmt: skip
@seed_option
@device_option
@json_option
@click.pass_obj
def pretrain(
    settings: Settings,
    paths: tuple[Path, ...],
    model: str | None,
    users: str | None,
    items: str | None,
    dim: int | None,
    exclude: tuple[str, ...],
    split: str | None,
    epochs: int | None,
    folder: Path | None,
    every: str | None,
    resume: bool,
    shard_tables: bool,
    seed: int | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Train one base model on the logs of many domains.

    The base, its split and the digest of its data go into one MLflow run; later commands read
    them from there. [data] duplicates, min_user_rows and min_item_rows say which repeats and which
    rare users and items do not train; what they left out is told. Domains with fewer train rows
    than min_domain_rows are named.

    Started by torchrun, its processes train one base together, each a share of every batch. With
    --shard-tables, or [train] shard_tables, the tables may be larger than one device.

    \b
    Example:
      lorarec pretrain --data data/sample --epochs 10
      lorarec pretrain --data logs.parquet --split column --exclude-domain games
      lorarec pretrain --data logs.parquet --model two-tower --items items.parquet
      lorarec pretrain --data data/sample --model als --set implicit.alpha=10
      lorarec pretrain --data logs.parquet --checkpoint saved --checkpoint-every 5m --resume
      torchrun --nproc-per-node 2 -m lorarec pretrain --data logs.parquet --shard-tables
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.checkpointing import EVERY, Checkpointing
    from lorarec.jobs.checkpointing import every as period
    from lorarec.jobs.pretrain import pretrain as job
    from lorarec.jobs.pretrain import pretrain_beside
    from lorarec.launch import launched
    from lorarec.tracking.store import open_store
    from lorarec.training.distributed import joined

    settings = settings.with_options(
        {
            "model.name": model,
            "features.users": users,
            "features.items": items,
            "model.dim": dim,
            "data.split": split,
            "train.epochs": epochs,
            "train.shard_tables": shard_tables or None,
            "train.seed": seed,
            "train.device": device,
        }
    )
    checkpointing = None
    if folder is not None:
        checkpointing = Checkpointing(folder, every or EVERY, resume)
        period(checkpointing.every)  # a wrong one is told before the logs are read
    elif every is not None or resume:
        raise click.UsageError(
            "--checkpoint-every and --resume need a folder. Say where: --checkpoint DIR"
        )
    with joined(launched()) as ranks, listening() as listener:
        if not ranks.first:
            pretrain_beside(settings, paths, exclude, checkpointing, ranks=ranks)
            return
        store = open_store(settings.tracking)
        done = job(settings, paths, store, exclude, listener, checkpointing, ranks)
    info = done.base.info
    result = {
        "run": done.run,
        "base_digest": info.digest,
        "domains": info.domains,
        "users": info.users,
        "items": info.items,
        "epochs": len(done.history.epochs) - 1,
        "best_epoch": done.history.best_epoch,
        "seconds": done.history.seconds,
        "metrics": info.metrics,
    }
    if as_json:
        print_json(result)
        return
    counts = info.split.counts
    print_table(
        ["part", "rows", "users", "items", "cold users", "cold items"],
        [
            (part, c.rows, c.users, c.items, c.cold_users, c.cold_items)
            for part, c in counts.items()
        ],
        title=f"Split: {info.split.used}",
    )
    print_table(
        ["base", "domains", "users", "items", "best epoch", "valid recall@20", "seconds"],
        [
            (
                done.run,
                len(info.domains),
                info.users,
                info.items,
                f"{done.history.best_epoch} of {len(done.history.epochs) - 1}",
                info.metrics.get("valid_recall_at_20"),
                round(done.history.seconds, 1),
            )
        ],
        whole=("base",),
    )
    say(f"Next: lorarec adapt --domain {info.domains[0]} --rank 8")
