"""`lorarec index show`: what an index holds and how it compares with exact search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lorarec.cli.output import print_json, print_table
from lorarec.cli.shared import CONTEXT, json_option

if TYPE_CHECKING:
    from lorarec.retrieval.artefact import IndexInfo
    from lorarec.retrieval.augmented_artefact import AugmentedInfo

folder_argument = click.argument(
    "folder", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False)
)


@click.command(context_settings=CONTEXT)
@folder_argument
@json_option
def show(folder: Path, as_json: bool) -> None:
    """Show an index: items, recall and queries a second beside exact search, bytes, its model.

    Of the index of all domains: the bytes of each beside those of an index of its own.

    \b
    Example:
      lorarec index show data/books-index
    """
    from lorarec.record import load_record
    from lorarec.retrieval.artefact import load_index
    from lorarec.retrieval.augmented_artefact import RECORD, AugmentedInfo

    if (folder / RECORD).is_file():
        print_domains(folder, load_record(folder / RECORD, AugmentedInfo), as_json)
        return
    print_index(folder, load_index(folder).info, as_json)


def print_index(folder: Path, info: IndexInfo, as_json: bool) -> None:
    """An index's record as a table or as JSON."""
    if as_json:
        print_json({"index": str(folder), **info.model_dump()})
        return
    report = info.report
    print_table(
        ["", "index", "exact"],
        [
            (f"recall@{report.k}", report.recall, 1.0),
            ("queries/s", round(report.queries_per_second),
             round(report.exact_queries_per_second)),
            ("bytes of vectors", report.vector_bytes, report.vector_bytes),
            ("bytes beside them", report.index_bytes, 0),
            ("seconds to build", round(report.build_seconds, 2), None),
        ],
        title=f"{folder}: {info.factory} over {info.items:,} items of {info.domain}",
    )  # fmt: skip
    print_table(
        ["recorded", ""],
        [
            ("measured on", f"{report.users:,} users, when it held {report.items:,} items"),
            ("effort", f"{info.effort}, {info.candidates} candidates an item"),
            ("base", info.base_digest),
            ("adapter", info.adapter_digest),
        ],
    )


def print_domains(folder: Path, info: AugmentedInfo, as_json: bool) -> None:
    """The record of an index of all domains as a table or as JSON."""
    if as_json:
        sums = {"bytes": info.all_bytes, "merged_bytes": info.merged_bytes}
        print_json({"index": str(folder), **info.model_dump(), **sums})
        return
    rows: list[tuple[object, ...]] = [
        (entry.name, entry.items, entry.bytes, entry.merged_bytes,
         entry.adapter_digest[:12] if entry.adapter_digest else None)
        for entry in info.domains
    ]  # fmt: skip
    rows.append(("item vectors of the base", None, info.shared_bytes, None, None))
    rows.append(("together", None, info.all_bytes, info.merged_bytes, None))
    print_table(
        ["domain", "items", "bytes", "as an index of its own", "adapter"],
        rows,
        title=f"{folder}: {len(info.domains)} domains over the base {info.base_digest[:12]}",
    )
