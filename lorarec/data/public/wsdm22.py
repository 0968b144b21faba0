"""WSDM Cup 2022 XMRec: a folder a market with `train.tsv`, `train_5core.tsv` and `valid_qrel.tsv`.

The domain is the market. Rows of train.tsv keep their rating of 1 to 5. A pair that stands in
train_5core.tsv alone has none, because that file has a constant 1. The pairs of valid_qrel.tsv are
the validation. There is no test: its labels were never published.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from lorarec.data.public.layout import Converted, Files, Found, Layout, collect, read_text, reading
from lorarec.data.public.record import Chosen

_COLUMNS = ("userId", "itemId", "rating")
_PAIR = ("user_id", "item_id", "domain")


def _convert(files: Files, chosen: Chosen) -> Converted:
    parts = []
    for market in sorted({found.words["market"] for role in files.values() for found in role}):
        parts += _market(files, market)
    valid = any(files["valid"])
    notes = [
        "The column split has train and valid, and no test: the cup never published its labels."
        if valid
        else "No valid_qrel.tsv was found: there is no column split.",
        "Rows of train_5core.tsv that train.tsv does not have are without a rating.",
    ]
    table = pl.concat(parts)
    return Converted(
        table if valid else table.drop("split"),
        notes=tuple(notes),
        may_lack=frozenset({"rating"}),
    )


def _market(files: Files, market: str) -> list[pl.DataFrame]:
    full = _table(files["full"], market, "train")
    core = _table(files["core"], market, "train").with_columns(rating=pl.lit(None, pl.Float32))
    valid = _table(files["valid"], market, "valid").with_columns(rating=pl.lit(None, pl.Float32))
    more = core.join(full, on=_PAIR, how="anti", maintain_order="left")
    return [full, more, valid]


def _table(files: Sequence[Found], market: str, split: str) -> pl.DataFrame:
    tables = [_read(found, split) for found in files if found.words["market"] == market]
    return tables[0] if tables else _empty()


def _read(found: Found, split: str) -> pl.DataFrame:
    with reading(found), found.path.open(encoding="utf-8") as file:
        header = file.readline().rstrip("\r\n").split("\t")[0] == _COLUMNS[0]
    return collect(
        found,
        read_text(found, _COLUMNS, "\t", header).select(
            user_id="userId",
            item_id="itemId",
            domain=pl.lit(found.words["market"]),
            rating=pl.col("rating").cast(pl.Float32),
            split=pl.lit(split),
        ),
    )


def _empty() -> pl.DataFrame:
    text = pl.String()
    return pl.DataFrame(
        schema={
            "user_id": text, "item_id": text, "domain": text, "rating": pl.Float32(), "split": text
        }
    )  # fmt: skip


LAYOUTS = {
    "wsdm22-xmrec": Layout(
        roles={
            "full": r"(?P<market>[st]\d)/train\.tsv",
            "core": r"(?P<market>[st]\d)/train_5core\.tsv",
            "valid": r"(?P<market>[st]\d)/valid_qrel\.tsv",
        },
        needed=("full", "core"),
        expected="a folder a market, such as t1/train.tsv, t1/train_5core.tsv, t1/valid_qrel.tsv",
        convert=_convert,
    )
}
