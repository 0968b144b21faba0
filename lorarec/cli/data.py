"""`lorarec data`: make, check and describe interaction logs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lorarec.cli.data_prepared import append, prepare
from lorarec.cli.data_public import get, import_
from lorarec.cli.data_split import split_
from lorarec.cli.output import print_json, print_table, say
from lorarec.errors import ConfigError, DataError

if TYPE_CHECKING:
    from lorarec.config import Settings
    from lorarec.data.contract import CheckReport
    from lorarec.data.describe import Description

_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_WIDEST_MATRIX = 8
_PAIRS_SHOWN = 15


@click.group(context_settings=_HELP)
def data() -> None:
    """Get, make, check, describe and prepare interaction logs.

    \b
    Example:
      lorarec data synth data
      lorarec data check data
      lorarec data prepare data prepared
    """


for command in (prepare, append, split_, get, import_):
    data.add_command(command)


@data.command(context_settings=_HELP)
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--domains", default="books,movies,music,games", show_default=True, metavar="NAMES",
    help="Names with commas between, largest first.",
)  # fmt: skip
@click.option("--users", type=int, default=2000, show_default=True, metavar="N")
@click.option("--items", type=int, default=1200, show_default=True, metavar="N")
@click.option("--interactions", type=int, default=60_000, show_default=True, metavar="N")
@click.option(
    "--rank", type=int, default=4, show_default=True, metavar="R",
    help="Of each domain's shift, 0 to 16: what its adapter has to learn.",
)  # fmt: skip
@click.option(
    "--start", type=click.DateTime(["%Y-%m-%d"]), default="2025-01-01", show_default=True,
    metavar="DATE", help="First day of the logs.",
)  # fmt: skip
@click.option(
    "--days", type=int, default=365, show_default=True, metavar="N",
    help="Length of the logs, over which taste drifts and a fifth of users and items appear.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="S")
@click.option(
    "--features", is_flag=True,
    help="Also write users.parquet and items.parquet: side features that tell of taste.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace files that hold something else.")
def synth(
    out: Path, domains: str, users: int, items: int, interactions: int, rank: int,
    start: datetime, days: int, seed: int, features: bool, force: bool,
) -> None:  # fmt: skip
    """Make logs of a seeded world of domains that share users and items.

    OUT is a file ending in .parquet, .csv, .tsv or .ndjson, or a directory that gets
    interactions.parquet. The same options give the same logs.

    \b
    Example:
      lorarec data synth data --domains books,movies,music,games --seed 0
      lorarec data synth data/world --features --rank 2 --start 2026-01-01 --days 90
    """
    from lorarec.data.logs import target_file, write_logs
    from lorarec.data.synthetic import item_features, make_world, user_features
    from lorarec.data.tables import write_table

    path = target_file(out)
    if features and path == out:
        raise ConfigError(
            f"{out} is a file and --features writes three of them. Expected a directory, such as "
            f"lorarec data synth {out.with_suffix('')} --features"
        )
    names = [name.strip() for name in domains.split(",")]
    world = make_world(names, users, items, interactions, seed, rank, days, start.date())
    frame = world.logs
    tables = {}
    if features:
        tables = {
            out / "users.parquet": user_features(world),
            out / "items.parquet": item_features(world),
        }
    if not force:
        _keep_others(path, _holds(path, frame))
        for file, table in tables.items():
            _keep_others(file, _holds_table(file, table))
    write_logs(frame, path)
    for file, table in tables.items():
        write_table(table, file)
    if frame.height < interactions:
        say(f"The catalogues hold only {frame.height:,} of {interactions:,} interactions.")
    size = path.stat().st_size / 1000
    click.echo(
        f"Wrote {frame.height:,} interactions of {len(names)} domains to {path} "
        f"({size:,.0f} kB, seed {seed})."
    )
    for file, table in tables.items():
        click.echo(f"Wrote features of {table.height:,} {file.stem} to {file}.")
    say(f"Next: lorarec pretrain --data {out}")


@data.command(context_settings=_HELP)
@click.argument(
    "paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path)
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
@click.pass_obj
def check(settings: Settings, paths: tuple[Path, ...], as_json: bool) -> None:
    """Check logs against the column contract; print counts per domain.

    user_id, item_id and domain must be there; timestamp, rating, weight and split may be. Other
    names are given under [data.columns] in lorarec.toml. Exit code 2, the reason, the count and
    five rows when the contract does not hold. With [data] duplicates = "refuse" it does not where
    rows repeat a (user, item, domain). Domains with fewer rows than [data] min_domain_rows are
    named.

    \b
    Example:
      lorarec data check data/interactions.parquet
    """
    from lorarec.data.contract import ContractError, check_frame
    from lorarec.data.describe import describe as describe_frame
    from lorarec.data.duplicates import check_repeats
    from lorarec.data.source import DataSource

    every_row = settings.data.model_copy(update={"min_rating": None})
    try:
        frame, _ = DataSource.of(paths, every_row).read()
        if settings.data.duplicates == "refuse":
            check_repeats(frame)
    except ContractError as error:
        _print_violations(error.report, as_json)
        raise _summary(error.report) from error
    report, description = check_frame(frame), describe_frame(frame)
    small = _small(description, settings)
    if as_json:
        print_json({**_report(report), **description.to_dict(), "small_domains": small})
        return
    _print_counts(description)
    click.echo(f"The contract holds in {report.rows:,} rows.")
    if report.repeated_pairs:
        click.echo(f"{report.repeated_pairs:,} rows repeat a (user, item, domain); that is legal.")
    for name, count in report.other_splits.items():
        click.echo(f"{count:,} rows have the split {name!r}: kept out of training.")
    _warn_of(small, settings)


@data.command(context_settings=_HELP)
@click.argument(
    "paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path)
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
@click.pass_obj
def describe(settings: Settings, paths: tuple[Path, ...], as_json: bool) -> None:
    """Describe logs: sizes, density and time of each domain, and what domains share.

    All rows are counted, repeats included. Of a prepared data set it is also said what its split
    left out; domains with fewer rows than [data] min_domain_rows are named.

    \b
    Example:
      lorarec data describe data/interactions.parquet --json
    """
    from lorarec.data.describe import describe as describe_frame
    from lorarec.data.source import DataSource

    frame, source = DataSource.of(paths, settings.data).read()
    if source.dropped:
        say(f"{source.dropped:,} rows are left out: their rating is below [data] min_rating.")
    description = describe_frame(frame)
    small = _small(description, settings)
    if as_json:
        found = {"dropped_low_rating": source.dropped, "small_domains": small}
        split = source.split.model_dump() if source.split else None
        print_json({**description.to_dict(), **found, "split": split})
        return
    _print_counts(description)
    for note in source.split.notes if source.split else ():
        say(note)
    _warn_of(small, settings)
    for title, overlap in (
        ("Shared users", description.user_overlap),
        ("Shared items", description.item_overlap),
    ):
        _print_overlap(title, description.names(), overlap)


def _small(description: Description, settings: Settings) -> dict[str, int]:
    from lorarec.data.small_domains import small_domains

    rows = {summary.domain: summary.rows for summary in description.domains}
    return small_domains(rows, settings.data.min_domain_rows)


def _warn_of(small: dict[str, int], settings: Settings) -> None:
    from lorarec.data.small_domains import too_small

    if (sentence := too_small(small, settings.data.min_domain_rows)) is not None:
        say(f"Warning: {sentence}")


def _keep_others(path: Path, same: bool) -> None:
    """Refuse to replace a file that holds something else."""
    if path.exists() and not same:
        raise ConfigError(
            f"{path} exists and holds something else. Expected a new file or the same rows; "
            f"choose another OUT, or add --force to replace it."
        )


def _holds(path: Path, frame: Any) -> bool:
    from lorarec.data.logs import load_logs, logs_digest

    if not path.exists():
        return False
    try:
        return logs_digest(load_logs(path)) == logs_digest(frame)
    except DataError:
        return False


def _holds_table(path: Path, table: Any) -> bool:
    from lorarec.data.tables import read_table

    if not path.exists():
        return False
    try:
        return bool(read_table(path).equals(table))
    except DataError:
        return False


def _summary(report: CheckReport) -> DataError:
    rules = len(report.violations)
    return DataError(
        f"The column contract does not hold: {rules} rule{'s' if rules > 1 else ''} broken among "
        f"{report.rows:,} rows. Correct the file, or name its columns under [data.columns] in "
        f"lorarec.toml, and run `lorarec data check` again."
    )


def _print_violations(report: CheckReport, as_json: bool) -> None:
    if as_json:
        print_json(_report(report))
        return
    for violation in report.violations:
        click.echo(violation.sentence())
        if violation.sample:
            columns = list(violation.sample[0])
            rows = [[_shown(row[c]) for c in columns] for row in violation.sample]
            print_table(columns, rows)


def _shown(value: object) -> str:
    """A raw value as it stands, so that a null and an empty text can be told apart."""
    return "null" if value is None else repr(value) if value == "" else str(value)


def _report(report: CheckReport) -> dict[str, Any]:
    from dataclasses import asdict

    return {"ok": report.ok, **asdict(report)}


def _print_counts(description: Description) -> None:
    summaries = [*description.domains]
    if len(summaries) > 1:
        summaries.append(description.total)
    print_table(
        ("domain", "users", "items", "rows", "repeated", "density", "first", "last"),
        [
            (s.domain, s.users, s.items, s.rows, s.repeated, f"{s.density:.4%}", _day(s.first),
             _day(s.last))
            for s in summaries
        ],
    )  # fmt: skip


def _day(moment: str | None) -> str | None:
    return moment[:10] if moment else None


def _print_overlap(title: str, names: list[str], overlap: tuple[tuple[int, ...], ...]) -> None:
    if len(names) < 2:
        return
    if len(names) <= _WIDEST_MATRIX:
        rows = [(name, *counts) for name, counts in zip(names, overlap, strict=True)]
        click.echo(title)
        print_table(("domain", *names), rows)
        return
    shared = [(names[a], names[b], overlap[a][b]) for a in range(len(names)) for b in range(a)]
    shared = sorted((pair for pair in shared if pair[2]), key=lambda pair: -pair[2])
    click.echo(f"{title}: {len(shared):,} pairs of domains share some (--json has all)")
    if shared:
        print_table(("domain", "and", "shared"), shared[:_PAIRS_SHOWN])
