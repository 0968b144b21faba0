"""The peers score as their formulas say, and are measured as our own arms are."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from pages import ROOT

ROWS = {
    "user_id": ["a", "a", "b", "b", "c", "c", "d", "a", "b", "c", "d", "a", "b", "c", "d"],
    "item_id": ["1", "2", "2", "3", "1", "3", "4", "3", "1", "2", "1", "4", "4", "4", "2"],
    "split": ["train"] * 7 + ["valid"] * 4 + ["test"] * 4,
}
IDS = pl.Series(["c", "a", "nobody", "d"])
ITEMS = pl.Series(["2", "nothing", "1", "4", "3"])


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture
def frame() -> pl.DataFrame:
    return pl.DataFrame(ROWS).with_columns(domain=pl.lit("de"))


def peer(name: str, frame: pl.DataFrame) -> Any:
    from benchmarks.quality.peers import Bpr, Ease, Ials, ItemKnn

    if name == "bpr":
        return Bpr(frame, 0.05, 0.01, 8, iterations=2)
    if name == "item_knn":
        return ItemKnn(frame, 2, 0.5)
    return Ease(frame, 2.0) if name == "ease" else Ials(frame, 1.0, 3.0, 8, iterations=2)


def test_ease_is_its_closed_form(frame: pl.DataFrame) -> None:
    found = peer("ease", frame)
    x = found.pairs.toarray()
    inverse = np.linalg.inv(x.T @ x + 2.0 * np.eye(4))
    weights = np.eye(4) - inverse / np.diag(inverse)
    np.testing.assert_allclose(found.rows(np.arange(4)), x @ weights, atol=1e-6)


def test_item_knn_keeps_the_most_similar_by_shrunk_cosine(frame: pl.DataFrame) -> None:
    found = peer("item_knn", frame)
    x = found.pairs.toarray()
    gram = x.T @ x
    norms = np.sqrt(np.diag(gram))
    similar = gram / (np.outer(norms, norms) + 0.5)
    np.fill_diagonal(similar, 0.0)
    for item in range(4):
        kept = np.sort(similar[:, item])[-2]
        column = np.where(similar[:, item] >= kept, similar[:, item], 0.0)
        np.testing.assert_allclose(found.weights.toarray()[:, item], column, atol=1e-6)


@pytest.mark.parametrize("name", ["ease", "ials", "bpr", "item_knn"])
def test_pairs_score_as_the_matrix_does(frame: pl.DataFrame, name: str) -> None:
    found = peer(name, frame)
    matrix = found.matrix(IDS, ITEMS)
    users = IDS.gather(np.repeat(np.arange(4), 5))
    items = pl.concat([ITEMS] * 4)
    shuffled = np.random.default_rng(0).permutation(20)
    pairs = found.score(users.gather(shuffled), items.gather(shuffled))
    np.testing.assert_allclose(pairs, matrix.ravel()[shuffled], atol=1e-6)
    assert not matrix[2].any()
    assert not matrix[:, 1].any()
    assert matrix[0].any()


def test_only_train_rows_count(frame: pl.DataFrame) -> None:
    train = peer("ease", frame.filter(pl.col("split") == "train"))
    np.testing.assert_array_equal(train.weights, peer("ease", frame).weights)


def test_validation_ranks_among_unseen_items_and_counts_ties_as_misses(
    frame: pl.DataFrame,
) -> None:
    from benchmarks.quality.protocols import validate_peer
    from lorarec.jobs.ranking import Arena

    class Flat:
        def matrix(self, users: pl.Series, items: pl.Series) -> np.ndarray[Any, Any]:
            return np.zeros((len(users), len(items)), np.float32)

    # Users a, b and c have two unseen items each, d three: all tied, so the last of them.
    expected = np.mean([1 / np.log2(3)] * 3 + [1 / np.log2(4)])
    assert validate_peer(Flat(), Arena.of(frame, "de")) == pytest.approx(expected)


def test_validation_with_several_held_out_items_is_the_ndcg_of_training() -> None:
    import torch

    from benchmarks.quality.protocols import validate_peer
    from lorarec.data.interactions import Interactions
    from lorarec.data.vocabulary import Vocabulary
    from lorarec.jobs.ranking import Arena
    from lorarec.models.matrix_factorization import MatrixFactorization
    from lorarec.training.validation import RankingValidation

    generator = np.random.default_rng(0)
    pairs = [(f"u{u}", f"i{i}") for u in range(12) for i in generator.permutation(9)[:7]]
    parts = ["train" if place % 7 < 3 else "valid" for place in range(len(pairs))]
    frame = pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row").with_columns(
        pl.lit("all").alias("domain"),
        pl.Series("split", parts),
        pl.lit(1.0).alias("weight"),
        pl.lit(0).alias("timestamp"),
    )
    users, items = (Vocabulary(frame[c].unique().sort()) for c in ("user_id", "item_id"))
    scores = generator.normal(size=(len(users), len(items))).astype(np.float32)

    class Fixed:
        def matrix(self, some: pl.Series, other: pl.Series) -> np.ndarray[Any, Any]:
            return scores[np.ix_(users.rows(some), items.rows(other))]

    train, valid = (
        Interactions.from_frame(frame.filter(pl.col("split") == p), users, items, ["all"])
        for p in ("train", "valid")
    )
    model = MatrixFactorization.from_tables(
        torch.from_numpy(scores), torch.eye(len(items)), "dot", 1.0
    ).requires_grad_(False)
    theirs = RankingValidation(train, valid, ["all"])({"all": model})
    assert validate_peer(Fixed(), Arena.of(frame, "all")) == pytest.approx(theirs["valid_ndcg"])
