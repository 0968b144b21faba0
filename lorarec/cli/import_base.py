"""`lorarec import`: a model that was trained elsewhere, as a base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.output import print_json, print_table, say
from lorarec.cli.shared import CONTEXT, device_option, json_option, named_parts, seed_option

if TYPE_CHECKING:
    from lorarec.config import Settings

FILE = click.Path(path_type=Path)


@click.command("import", context_settings=CONTEXT)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--data", "paths", type=FILE, multiple=True, required=True, metavar="PATH",
    help="Logs or a prepared data set that it is adapted to and evaluated on.",
)  # fmt: skip
@click.option("--user-ids", type=FILE, metavar="FILE", help="Ids in the order of the user rows.")
@click.option("--item-ids", type=FILE, metavar="FILE", help="Ids in the order of the item rows.")
@click.option(
    "--name", "names", multiple=True, callback=named_parts, metavar="PART=NAME",
    help="Which array is the users, items, item_bias, user_ids or item_ids; may be repeated.",
)  # fmt: skip
@click.option(
    "--trained-until", "until", metavar="DATE",
    help="The day from which on it saw nothing; or train: it saw this split's train rows alone.",
)  # fmt: skip
@click.option("--accept-leak", is_flag=True, help="Import it though it has seen held-out rows.")
@click.option(
    "--scale", type=click.FloatRange(min=0, min_open=True), metavar="X",
    help="Multiply all scores; 1 leaves them.  [default: chosen on validation]",
)  # fmt: skip
@click.option(
    "--split", type=click.Choice(["column", "time", "leave-last-out", "random"]),
    help="How train, valid and test are cut.  [default: time]",
)  # fmt: skip
@seed_option
@device_option
@json_option
@click.pass_obj
def import_base(
    settings: Settings,
    sources: tuple[str, ...],
    paths: tuple[Path, ...],
    user_ids: Path | None,
    item_ids: Path | None,
    names: dict[str, str],
    until: str | None,
    accept_leak: bool,
    scale: float | None,
    split: str | None,
    seed: int | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Make a base of a model that was trained elsewhere.

    SOURCE is a model that implicit saved; users' and items' vectors in one .npz, .safetensors or
    .pt file; two files, users first: .npy, or parquet with ids and a list column; a folder with one
    of these; or runs:/ID/PATH or models:/NAME/VERSION. It ranks as the original does.

    \b
    Example:
      lorarec import als.npz --data logs.parquet --user-ids users.txt --item-ids items.txt
      lorarec import users.parquet items.parquet --data prepared --trained-until 2025-06-01
      lorarec import model.pt --data prepared --name users=u.weight --name items=i.weight
    """
    from lorarec.cli.listening import listening
    from lorarec.jobs.foreign import Stated
    from lorarec.jobs.import_base import import_base as job
    from lorarec.jobs.leakage import parse_until
    from lorarec.tracking.store import open_store

    settings = settings.with_options(
        {"data.split": split, "train.seed": seed, "train.device": device}
    )
    stated = Stated(
        names=names,
        user_ids=user_ids,
        item_ids=item_ids,
        trained_until=None if until is None else parse_until(until),
        accept_leak=accept_leak,
        scale=scale,
    )
    with listening() as listener:
        done = job(settings, sources, paths, open_store(settings.tracking), stated, listener)
    info = done.base.info
    assert info.origin is not None
    if as_json:
        print_json(
            {
                "run": done.run,
                "base_digest": info.digest,
                "origin": info.origin.model_dump(),
                "users": info.users,
                "items": info.items,
                "dim": info.dim,
                "known": {name: there for name, (there, _) in done.known.items()},
                "metrics": info.metrics,
            }
        )
        return
    print_table(
        ["base", "read as", "users", "items", "dim", "scale", "valid recall@20", "leak"],
        [
            (
                done.run,
                info.origin.kind,
                info.users,
                info.items,
                info.dim,
                f"{info.origin.scale:g}",
                info.metrics.get("valid_recall_at_20"),
                info.origin.leak,
            )
        ],
        whole=("base",),
    )
    say(f"Next: lorarec adapt --domain {info.domains[0]} --rank 8")
