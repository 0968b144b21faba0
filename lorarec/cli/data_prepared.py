"""`lorarec data prepare` and `lorarec data append`: logs as a checked, numbered data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lorarec.cli.data_split import PART_COLUMNS, part_rows
from lorarec.cli.output import print_json, print_table, progress, say
from lorarec.cli.shared import CONTEXT, json_option
from lorarec.errors import ConfigError

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.data.prepared.dataset import PreparedDataset

_logs = click.argument(
    "paths", nargs=-1, required=True, metavar="LOGS...", type=click.Path(path_type=Path)
)


@click.command(context_settings=CONTEXT)
@_logs
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--split", type=click.Choice(["time", "column", "random", "leave-last-out", "none"]),
    help="How train, valid and test are cut; none leaves it to pretrain.  [default: time]",
)  # fmt: skip
@click.option(
    "--on-bad-rows", type=click.Choice(["error", "quarantine", "drop"]),
    help="What rows that break the contract do.  [default: error]",
)  # fmt: skip
@click.option(
    "--duplicates", type=click.Choice(["keep", "last", "sum", "refuse"]),
    help="What rows that repeat a (user, item, domain) of their part do.  [default: keep]",
)  # fmt: skip
@click.option(
    "--min-user-rows", type=int, metavar="N",
    help="Train rows that a user needs to be trained on (k-core).  [default: 0]",
)  # fmt: skip
@click.option(
    "--min-item-rows", type=int, metavar="N",
    help="Train rows that an item needs to be trained on (k-core).  [default: 0]",
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N",
    help="Read and check so many files at a time, each in a process of its own.",
)  # fmt: skip
@json_option
@click.pass_obj
def prepare(
    settings: Settings,
    paths: tuple[Path, ...],
    out: Path,
    split: str | None,
    on_bad_rows: str | None,
    duplicates: str | None,
    min_user_rows: int | None,
    min_item_rows: int | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Read, check, number and split logs into the data set OUT, a new folder.

    Logs of any size stream through memory that grows with the distinct ids alone. OUT can be given
    to --data of every command, and `lorarec data append` adds to it. With quarantine, rows that
    break the contract lie in OUT/quarantine as parquet, with their file and the reason.

    Every row of the logs stays in OUT. Repeats are resolved after the split, within each part, the
    last by time kept or its weights summed up; then train rows of users and items that have too few
    are the part outside-core, and do not train. Appended rows count too.

    With --workers files are read and checked side by side, and then numbered and written in their
    order, so OUT is the same, with the same digest. It is for machines with more cores than one
    file keeps busy; on two it saves nothing.

    \b
    Example:
      lorarec data prepare data/sample prepared
      lorarec data prepare 'logs/2026-*.csv.gz' prepared --on-bad-rows quarantine
      lorarec data prepare 'logs/2026-*.csv.gz' prepared --workers 8
      lorarec data prepare data/sample prepared --duplicates last --min-item-rows 5
    """
    from lorarec.data.prepared.build import prepare as job
    from lorarec.data.prepared.options import options_of
    from lorarec.fanout.engines import engine_named

    settings = settings.with_options(
        {
            "data.on_bad_rows": on_bad_rows,
            "data.duplicates": duplicates,
            "data.min_user_rows": min_user_rows,
            "data.min_item_rows": min_item_rows,
        }
    )
    options = options_of(settings, split or "time")
    with progress("prepare") as meter:
        engine = None if workers is None else engine_named("spawn", workers)
        dataset = job(paths, out, options, lambda rows: meter.update(rows), engine)
    _report(dataset, len(dataset), (), settings.data.min_domain_rows, as_json)
    if not as_json:
        say(f"Next: lorarec pretrain --data {out}")


@click.command(context_settings=CONTEXT)
@click.argument("dataset", type=click.Path(path_type=Path))
@_logs
@click.option(
    "--cutoff", "cutoffs", metavar="VALID,TEST",
    help="Move the cut-offs: first moment of validation and of test, as dates or seconds, UTC.",
)  # fmt: skip
@click.option("--move-cutoff", is_flag=True, help="Move them so that the shares hold again.")
@json_option
@click.pass_obj
def append(
    settings: Settings,
    dataset: Path,
    paths: tuple[Path, ...],
    cutoffs: str | None,
    move_cutoff: bool,
    as_json: bool,
) -> None:
    """Add logs to a prepared data set.

    Rows and ids that are there keep their places, so bases and adapters trained on it before still
    load and find the logs they were trained on. A file that was taken before is not taken again.
    The cut-offs stay where they are unless they are told to move, and so do rows that were drawn;
    leave-last-out moves with a user's last rows. Killed at any moment, the data set is the old one
    or the new one.

    \b
    Example:
      lorarec data append prepared logs/2026-11-24.parquet
      lorarec data append prepared logs/2026-11-24.parquet --cutoff 2026-11-01,2026-11-15
    """
    from lorarec.data.prepared.build import append as job

    moments = None if cutoffs is None else _cutoffs(cutoffs)
    if moments is not None and move_cutoff:
        raise ConfigError("--cutoff and --move-cutoff exclude each other. Expected one of them.")
    with progress("append") as meter:
        added = job(dataset, paths, moments, move_cutoff, lambda rows: meter.update(rows))
    least = settings.data.min_domain_rows
    _report(added.dataset, added.rows, added.known, least, as_json)


def _cutoffs(text: str) -> tuple[int, int]:
    from lorarec.config.moments import second_of

    parts = [part.strip() for part in text.split(",")]
    try:
        valid, test = (second_of(part) for part in parts)
    except ValueError as error:
        raise ConfigError(
            f"--cutoff {text!r} cannot be read ({error}). Expected two moments, of validation and "
            f"of test, such as --cutoff 2026-11-01,2026-11-15"
        ) from error
    return valid, test


def _report(
    dataset: PreparedDataset, rows: int, known: tuple[str, ...], least: int, as_json: bool
) -> None:
    from lorarec.data.small_domains import small_domains, too_small

    last, split = dataset.last, dataset.split
    small = small_domains(dataset.domain_rows(), least)
    if as_json:
        print_json(
            {
                "path": str(dataset.folder),
                "digest": dataset.digest,
                "generation": last.number,
                "rows": len(dataset),
                "rows_added": rows,
                "files_known": list(known),
                "dropped_bad": last.dropped_bad if rows else 0,
                "dropped_low_rating": last.dropped_low_rating if rows else 0,
                "broken": last.broken if rows else {},
                **dataset.sizes(),
                "split": split.model_dump() if split else None,
                "small_domains": small,
            }
        )
        return
    for name in known:
        say(f"{name} is in the data set already: not taken again.")
    if rows:
        _print_left_out(dataset)
    sizes = dataset.sizes()
    click.echo(
        f"{dataset.folder}: {len(dataset):,} rows ({rows:,} of them new), "
        f"{sizes['users']:,} users, {sizes['items']:,} items, {sizes['domains']:,} domains. "
        f"Digest {dataset.digest[:12]}."
    )
    if split is not None:
        for note in split.notes:
            say(note)
        print_table(PART_COLUMNS, part_rows(split.counts), title=f"Split: {split.used}")
    elif (options := dataset.manifest.options).duplicates in ("last", "sum") or max(
        options.min_user_rows, options.min_item_rows
    ) > 1:
        say(
            "Without a split no repeats are resolved and there is no core yet: that comes after "
            "the split, by the settings [data] of pretrain."
        )
    if (sentence := too_small(small, least)) is not None:
        say(f"Warning: {sentence}")


def _print_left_out(dataset: PreparedDataset) -> None:
    last: Any = dataset.last
    for rule, count in last.broken.items():
        say(f"{rule}: {count:,} rows")
    if last.dropped_bad:
        aside = f"{dataset.folder}/quarantine/{last.number:06d}-*.parquet"
        kept = dataset.manifest.options.on_bad_rows == "quarantine"
        where = f"written to {aside}" if kept else "left out"
        say(f"{last.dropped_bad:,} rows break the contract: {where}.")
    if last.dropped_low_rating:
        say(f"{last.dropped_low_rating:,} rows are rated below [data] min_rating: left out.")
