from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data.features import FeatureEncoder, FeatureSpec, load_encoder, save_encoder
from lorarec.errors import ArtifactError, StoreError
from lorarec.record import sealed

TRAIN = ["a", "b", "c", "d"]


@pytest.fixture
def encoder(films: pl.DataFrame, specs: list[FeatureSpec]) -> FeatureEncoder:
    return FeatureEncoder.fit(films, "item_id", TRAIN, specs)


@pytest.fixture
def saved(encoder: FeatureEncoder, tmp_path: Path) -> Path:
    save_encoder(encoder, tmp_path / "features")
    return tmp_path / "features"


def edit(folder: Path, **changed: Any) -> None:
    path = folder / "features.json"
    path.write_text(json.dumps(sealed(json.loads(path.read_text()) | changed)))


def test_a_saved_encoder_comes_back(
    encoder: FeatureEncoder, saved: Path, films: pl.DataFrame
) -> None:
    loaded = load_encoder(saved, encoder.digest())
    assert loaded.digest() == encoder.digest()
    assert loaded.specs == encoder.specs
    one, other = (e.transform(films, films["item_id"]) for e in (encoder, loaded))
    np.testing.assert_array_equal(one.numeric, other.numeric)
    np.testing.assert_array_equal(
        one.categories["genres"].values, other.categories["genres"].values
    )


def test_a_loaded_encoder_grows(encoder: FeatureEncoder, saved: Path, films: pl.DataFrame) -> None:
    grown = load_encoder(saved).extended(films, ["cold"])
    save_encoder(grown, saved.with_name("grown"))
    assert load_encoder(saved.with_name("grown")).starts_with(encoder)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(max_size=4) | st.none(), st.floats(-1e38, 1e38) | st.none()),
        min_size=1,
        max_size=9,
    )
)
def test_any_encoder_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, Any]]
) -> None:
    frame = pl.DataFrame(rows, schema={"c": pl.String, "n": pl.Float64}, orient="row")
    frame = frame.with_columns(id=pl.int_range(frame.height))
    made = FeatureEncoder.fit(
        frame,
        "id",
        frame["id"],
        [
            FeatureSpec(name="c", kind="categorical", min_count=1),
            FeatureSpec(name="n", kind="numeric", log1p=True),
        ],
    )
    folder = tmp_path_factory.mktemp("any") / "features"
    assert load_encoder(folder, save_encoder(made, folder)).digest() == made.digest()


def test_an_encoder_without_categories_comes_back(films: pl.DataFrame, tmp_path: Path) -> None:
    spec = FeatureSpec(name="price", kind="numeric")
    made = FeatureEncoder.fit(films, "item_id", TRAIN, [spec])
    save_encoder(made, tmp_path / "features")
    assert load_encoder(tmp_path / "features").digest() == made.digest()


def test_another_digest_is_refused(saved: Path) -> None:
    with pytest.raises(ArtifactError, match="expected 000000000000"):
        load_encoder(saved, "0" * 64)


@pytest.mark.parametrize("name", ["features.json", "categories.parquet"])
def test_missing_and_truncated_files_are_named(saved: Path, name: str) -> None:
    path = saved / name
    whole = path.read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:length])
        with pytest.raises(ArtifactError, match=name):
            load_encoder(saved)
    path.unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        load_encoder(saved)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"rows": 5}, "features.json or categories.parquet was edited"),
        ({"id_column": "user_id"}, "was edited"),
        ({"moments": {"price": {"mean": 3.5, "std": 1.0}}}, "was edited"),
        ({"moments": {}}, "was edited"),
        ({"moments": {"price": {"mean": 0.0, "std": 0.0}}}, "moments.price.std"),
        ({"moments": {"price": {"mean": float("nan"), "std": 1.0}}}, "moments.price.mean"),
        ({"specs": []}, "categories.parquet has 4 categories"),
        ({"sizes": {"maker": 9, "genres": 3}}, "tells of 10 for 2 features"),
        ({"digest": "0" * 64}, "expected 000000000000"),
        ({"colour": 1}, "colour: Extra inputs"),
        ({"format_version": 99}, "reads up to 1"),
    ],
)
def test_an_edited_record_is_refused(saved: Path, changed: dict[str, Any], sentence: str) -> None:
    edit(saved, **changed)
    with pytest.raises(ArtifactError, match=sentence):
        load_encoder(saved)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (pl.col("category").replace("x", "w"), "was edited"),
        (pl.col("count") + 1, "was edited"),
        (pl.col("row").reverse(), "not numbered from 0"),
        (pl.col("category").replace("y", "x"), "1 of|2 ids repeat"),
        (pl.lit(None, dtype=pl.Int64).alias("count"), "a count is null"),
        (pl.lit("other").alias("feature"), "tells of 4 for 2 features"),
        (pl.col("category").alias("row"), "not a whole table"),
    ],
)
def test_edited_categories_are_refused(saved: Path, change: pl.Expr, sentence: str) -> None:
    path = saved / "categories.parquet"
    pl.read_parquet(path).with_columns(change).write_parquet(path)
    with pytest.raises(ArtifactError, match=sentence):
        load_encoder(saved)


def test_a_folder_that_is_taken_stays_as_it_was(encoder: FeatureEncoder, saved: Path) -> None:
    with pytest.raises(StoreError, match="is not empty"):
        save_encoder(encoder, saved)
    assert load_encoder(saved).digest() == encoder.digest()


def test_a_full_disk_leaves_nothing(
    encoder: FeatureEncoder, tmp_path: Path, room_for: Callable[[int], AbstractContextManager[None]]
) -> None:
    with room_for(64), pytest.raises(StoreError):
        save_encoder(encoder, tmp_path / "features")
    assert list(tmp_path.iterdir()) == []
