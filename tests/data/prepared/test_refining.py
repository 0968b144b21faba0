"""Repeats and the core in a prepared data set: what the same logs give in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorarec.data import batches
from lorarec.data.contract import ContractError
from lorarec.data.prepared import pieces
from lorarec.data.prepared.build import append, prepare
from lorarec.data.prepared.dataset import PreparedDataset, open_dataset
from lorarec.data.prepared.manifest import NAME, Options
from lorarec.data.source import DataSource
from lorarec.data.splits import SplitRecord, split_logs
from lorarec.errors import ArtifactError, DataError

Rows = list[tuple[str, str, str, int, float, str]]
NAMES = ["user_id", "item_id", "domain", "timestamp", "weight", "split"]
POLICIES = [("last", 0, 0), ("sum", 0, 0), ("keep", 2, 2), ("sum", 2, 3), ("last", 3, 0)]

_row = st.tuples(
    st.sampled_from("uvwxyz"),
    st.sampled_from("ijkl"),
    st.sampled_from("abc"),
    st.integers(0, 20),
    st.floats(0, 1e6, width=32),
    st.sampled_from(["train", "train", "valid", "test", "extra"]),
)
# Enough that stays in any core, at times that leave no part empty.
SOLID: Rows = [(f"s{n % 3}", f"t{n // 3 % 3}", "a", n % 21, 1.5, "train") for n in range(42)]
logs = st.lists(_row, max_size=40).map(lambda rows: [*rows, *SOLID])


def options(policy: tuple[str, int, int], split: str = "time") -> Options:
    how, users, items = policy
    asked: dict[str, Any] = {"duplicates": how, "min_user_rows": users, "min_item_rows": items}
    return Options.model_validate({"split": split, **asked})


def frame_of(rows: Rows) -> pl.DataFrame:
    schema = dict.fromkeys(NAMES, pl.String()) | {"timestamp": pl.Int64(), "weight": pl.Float32()}
    return pl.DataFrame(rows, schema=schema, orient="row")


def written(rows: Rows, path: Path) -> Path:
    frame_of(rows).write_parquet(path)
    return path


def in_memory(path: Path, asked: Options) -> tuple[pl.DataFrame, SplitRecord]:
    frame, _ = DataSource(paths=[str(path)]).read()
    return split_logs(
        frame,
        asked.split,  # type: ignore[arg-type]
        duplicates=asked.duplicates,
        min_user_rows=asked.min_user_rows,
        min_item_rows=asked.min_item_rows,
    )


def same_parts(dataset: PreparedDataset, frame: pl.DataFrame, record: SplitRecord) -> bool:
    """Whether each domain has the rows, and the record the counts, of the logs in memory."""
    split = dataset.split
    assert split is not None
    domains = frame["domain"].unique().to_list()
    rows = all(
        dataset.split_frame(split, domain).equals(frame.filter(pl.col("domain") == domain))
        for domain in domains
    )
    whole = dataset.split_frame(split)
    assert whole.sort(NAMES).equals(frame.select(whole.columns).sort(NAMES))
    assert split.repeats == record.repeats
    assert split.core == record.core
    assert split.counts == record.counts
    return rows and (split.t_valid, split.t_test) == (record.t_valid, record.t_test)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches and lots of a few rows, so that repeats lie in different ones."""
    monkeypatch.setattr(batches.raw_batches, "__defaults__", (False, 7))
    monkeypatch.setattr(pieces.pieces, "__defaults__", (pieces.COLUMNS, 5))


_some = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.usefixtures("small_pieces")
@_some
@given(logs, st.sampled_from(POLICIES), st.sampled_from(["time", "column"]))
def test_a_data_set_has_the_parts_of_the_logs_in_memory(
    tmp_path_factory: pytest.TempPathFactory, rows: Rows, policy: tuple[str, int, int], split: str
) -> None:
    folder = tmp_path_factory.mktemp("refine")
    path = written([*rows, *(("s0", "t0", "a", 3, 2.0, p) for p in ("valid", "test"))],
                   folder / "a.parquet")  # fmt: skip
    asked = options(policy, split)
    dataset = prepare([path], folder / "set", asked)
    assert same_parts(dataset, *in_memory(path, asked))


@pytest.mark.usefixtures("small_pieces")
@_some
@given(logs, logs, st.sampled_from(POLICIES))
def test_an_append_gives_what_preparing_all_at_once_gives(
    tmp_path_factory: pytest.TempPathFactory, old: Rows, new: Rows, policy: tuple[str, int, int]
) -> None:
    folder = tmp_path_factory.mktemp("append")
    first, second = (written(r, folder / n) for r, n in ((old, "a.parquet"), (new, "b.parquet")))
    # Bytes of the second that the first does not have, or it would be taken as known.
    written([("only", "here", "c", 4, 1.0, "train"), *new], second)
    asked = options(policy)
    before = prepare([first], folder / "set", asked)
    split = before.split
    assert split is not None
    then = before.split_frame(split)
    grown = append(before.folder, [second], move_cutoff=True).dataset
    together = prepare([first, second], folder / "together", asked)
    assert grown.split == together.split
    assert grown.split is not None
    assert (
        grown.split_frame(grown.split)
        .sort(NAMES)
        .equals(together.split_frame(grown.split).sort(NAMES))
    )
    # And the older generation is what it was, by its own split.
    old_set = open_dataset(before.folder, before.digest)
    assert old_set.split == split
    assert old_set.split_frame(split).equals(then)


def base_rows() -> Rows:
    """Four users with every item, late and early; one of them with few rows."""
    rows = [(f"u{n % 4}", f"i{n // 4 % 5}", "a", n, 1.0, "train") for n in range(100)]
    return [*rows, ("rare", "i0", "a", 1, 1.0, "train"), ("rare", "i1", "a", 99, 1.0, "train")]


def test_a_base_finds_the_core_of_its_own_generation(tmp_path: Path) -> None:
    asked = options(("last", 3, 0))
    first = written(base_rows(), tmp_path / "a.parquet")
    dataset = prepare([first], tmp_path / "set", asked)
    source = DataSource(paths=[str(dataset.folder)]).read()[1]
    split = source.split
    assert split is not None
    assert split.core is not None
    assert split.core.users == 1
    day = [("rare", f"i{n}", "a", 2, 1.0, "train") for n in range(5)]
    grown = append(dataset.folder, [written(day, tmp_path / "b.parquet")]).dataset.split
    assert grown is not None
    assert grown.core is not None
    assert grown.core.users == 0
    rare = pl.col("user_id") == "rare"
    then = source.read_again(split, domain="a")[0].filter(rare)
    assert then["split"].to_list() == ["outside-core", "test"]
    # Another split than the generation's own has its core looked for among all rows.
    now = source.read_again(split, [dataset.folder], domain="a")[0].filter(rare)
    assert now["split"].value_counts(sort=True).rows() == [("train", 5), ("test", 1)]


def test_moved_cut_offs_resolve_repeats_anew(tmp_path: Path) -> None:
    rows: Rows = [(f"u{n % 2}", "i", "a", n, 1.0, "train") for n in range(40)]
    path = written(rows, tmp_path / "a.parquet")
    dataset = prepare([path], tmp_path / "set", options(("last", 0, 0)))
    moved = append(dataset.folder, [path], cutoffs=(10, 20)).dataset
    assert moved.split is not None
    found = moved.split_frame(moved.split)
    assert found.select("timestamp", "split").rows() == [
        (8, "train"), (9, "train"), (18, "valid"), (19, "valid"), (38, "test"), (39, "test"),
    ]  # fmt: skip


def test_what_left_is_in_the_manifest(tmp_path: Path) -> None:
    path = written(base_rows(), tmp_path / "a.parquet")
    dataset = prepare([path], tmp_path / "set", options(("last", 3, 0)))
    (generation,) = json.loads((dataset.folder / NAME).read_text())["generations"]
    assert generation["rows"] == 102
    assert generation["split"]["repeats"]["train"] == 61
    assert generation["split"]["core"]["users"] == 1
    assert generation["split"]["counts"]["outside-core"]["rows"] == 1
    assert "61 in train" in generation["split"]["notes"][0]
    (dataset.folder / "core" / "000000.parquet").write_bytes(b"PAR1")
    with pytest.raises(ArtifactError, match="core"):
        open_dataset(dataset.folder)


def test_a_data_set_without_policies_has_the_manifest_it_always_had(tmp_path: Path) -> None:
    path = written(base_rows(), tmp_path / "a.parquet")
    dataset = prepare([path], tmp_path / "set", Options())
    manifest = json.loads((dataset.folder / NAME).read_text())
    assert "duplicates" not in manifest["options"]
    assert "core" not in manifest["generations"][0]["split"]
    assert not (dataset.folder / "core").exists()


@pytest.mark.usefixtures("small_pieces")
def test_refused_repeats_are_counted_and_named(tmp_path: Path) -> None:
    path = written(base_rows(), tmp_path / "a.parquet")
    for split in ("time", "none"):
        with pytest.raises(ContractError, match=r"in 80 rows.*\('u0', 'i0', 'a'\) in 5 rows"):
            prepare([path], tmp_path / "set", options(("refuse", 0, 0), split))
    assert not (tmp_path / "set").exists()


def test_an_append_that_repeats_an_old_row_can_be_refused(tmp_path: Path) -> None:
    rows = base_rows()[:20]
    asked = options(("refuse", 0, 0))
    dataset = prepare([written(rows, tmp_path / "a.parquet")], tmp_path / "set", asked)
    again = written([("u1", "i1", "a", 500, 1.0, "train")], tmp_path / "b.parquet")
    with pytest.raises(ContractError, match=r"in 1 row: .*\('u1', 'i1', 'a'\) in 2 rows"):
        append(dataset.folder, [again])
    assert open_dataset(dataset.folder).digest == dataset.digest
    assert len(list((dataset.folder / "rows").iterdir())) == 1
    other = written([("new", "i1", "a", 500, 1.0, "train")], tmp_path / "c.parquet")
    assert append(dataset.folder, [other]).rows == 1


def test_an_append_that_leaves_no_core_changes_nothing(tmp_path: Path) -> None:
    path = written(base_rows(), tmp_path / "a.parquet")
    dataset = prepare([path], tmp_path / "set", options(("keep", 5, 0)))
    with pytest.raises(DataError, match="min_user_rows 5"):
        append(dataset.folder, [path], cutoffs=(2, 3))
    assert open_dataset(dataset.folder).digest == dataset.digest
    assert len(list((dataset.folder / "core").iterdir())) == 1
