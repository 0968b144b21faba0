"""Features of real data sets. They are found through LORAREC_DATA alone."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lorarec.data.features import (
    FeatureEncoder,
    Inferred,
    infer_specs,
    load_encoder,
    read_features,
    save_encoder,
)

ROOT = os.environ.get("LORAREC_DATA", "")
FILES = sorted(
    path
    for name in ("users", "items")
    for path in (Path(ROOT).resolve().rglob(f"{name}.parquet") if ROOT else ())
    if (path.parent / "interactions.parquet").is_file()
)
NAME = "movielens1m_m1"
SKIP = pytest.param(
    None,
    marks=pytest.mark.skip(
        reason=f"LORAREC_DATA is {ROOT!r}" if ROOT else "LORAREC_DATA is not set: no real data"
    ),
)


def fitted(path: Path) -> tuple[pl.DataFrame, Inferred, FeatureEncoder]:
    id_column = f"{path.stem[:-1]}_id"
    logs = pl.scan_parquet(path.parent / "interactions.parquet")
    split = next(name for name in logs.collect_schema().names() if name.startswith("split"))
    train = logs.filter(pl.col(split) == "train").select(id_column).unique().collect()[id_column]
    frame = read_features(path, id_column)
    found = infer_specs(frame, id_column, train)
    return frame, found, FeatureEncoder.fit(frame, id_column, train, found.specs)


@pytest.mark.parametrize(
    "path", FILES or [SKIP], ids=lambda p: f"{p.parent.name}-{p.stem}" if p else "none"
)
def test_real_features_are_encoded_saved_and_read(path: Path, tmp_path: Path) -> None:
    frame, found, encoder = fitted(path)
    assert {spec.name for spec in found.specs} | set(found.left_out) == {
        name for name in frame.columns if name != encoder.id_column
    }
    table = encoder.transform(frame, frame[encoder.id_column])
    assert table.known.all()
    assert np.isfinite(table.numeric).all()
    for name, codes in table.categorical.items():
        assert (codes > 0).mean() > 0.3, name
    for name, bags in table.categories.items():
        assert len(bags.offsets) == len(frame) + 1
        assert bags.values.max() == encoder.sizes[name] - 1
    save_encoder(encoder, tmp_path / "features")
    assert load_encoder(tmp_path / "features").digest() == encoder.digest()


@pytest.mark.skipif(
    not any(path.parent.name == NAME for path in FILES),
    reason=f"{NAME} is not in LORAREC_DATA ({ROOT or 'not set'})",
)
def test_movielens_has_the_features_that_its_page_tells_of() -> None:
    folder = next(path.parent for path in FILES if path.parent.name == NAME)
    _, users, by_user = fitted(folder / "users.parquet")
    assert [(s.name, s.kind) for s in users.specs] == [
        ("gender", "categorical"),
        ("age", "categorical"),
        ("occupation", "categorical"),
        ("zip_code", "categorical"),
        ("domain", "categorical"),
    ]
    assert [by_user.sizes[name] for name in ("gender", "age", "occupation")] == [3, 8, 22]
    frame, items, by_item = fitted(folder / "items.parquet")
    assert [(s.name, s.kind) for s in items.specs] == [
        ("year", "numeric"),
        ("genres", "categories"),
    ]
    assert set(items.left_out) == {"m1_item", "title"}
    assert by_item.sizes == {"genres": 19}
    toy_story = by_item.transform(frame, ["1"]).categories["genres"].values
    names = by_item.categories["genres"].vocabulary.take(toy_story - 1)
    assert set(names) == {"Animation", "Children's", "Comedy"}
