"""A domain beside a base: which rows are its own, which ids are grown, where those start."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from world import OUTSIDE, World

from lorarec.errors import DataError, NotFoundError
from lorarec.jobs.domain import domain_data, domain_frame, touched_rows

Rows = list[tuple[str, str, str, str]]


def logs(rows: Rows) -> pl.DataFrame:
    """Split logs of (user, item, domain, split)."""
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "domain", "split"], orient="row")
    return frame.with_columns(
        weight=pl.lit(1.0, pl.Float32), timestamp=pl.lit(None, pl.Int64), rating=pl.lit(None)
    )


@pytest.fixture
def base(base_maker: Any) -> Any:
    """Knows u0 to u5 and i0 to i7."""
    return base_maker()


def books(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return logs([(user, item, "books", split) for user, item, split in rows])


def test_rows_of_other_domains_are_left_out() -> None:
    frame = logs([("u0", "i0", "books", "train"), ("u1", "i1", "games", "train")])
    assert domain_frame(frame, "games")["user_id"].to_list() == ["u1"]


def test_an_unknown_domain_gets_the_nearest_name() -> None:
    with pytest.raises(NotFoundError, match="Did you mean 'books'"):
        domain_frame(books(("u0", "i0", "train")), "book")


def test_a_domain_without_a_train_row_is_refused_with_its_counts() -> None:
    frame = books(("u0", "i0", "test"), ("u1", "i0", "test"))
    with pytest.raises(DataError, match=r"none in train \(\{'test': 2\}\)"):
        domain_frame(frame, "books")


def test_known_ids_keep_the_rows_of_the_base(base: Any) -> None:
    data = domain_data(base, books(("u3", "i2", "train"), ("new", "fresh", "train")), "books")
    assert data.users.rows(["u0", "u3", "u5", "new"]).tolist() == [0, 3, 5, 6]
    assert data.items.rows(["i2", "fresh"]).tolist() == [2, 8]


def test_ids_without_a_train_row_are_not_grown(base: Any) -> None:
    rows = [("u0", "i0", "train"), ("late", "i1", "valid"), ("u1", "later", "test")]
    data = domain_data(base, books(*rows), "books")
    assert (len(data.users), len(data.items)) == (6, 8)


def test_train_and_valid_hold_their_own_rows_alone(base: Any) -> None:
    rows = [("u0", "i0", "train"), ("u0", "i1", "valid"), ("u0", "i2", "test")]
    data = domain_data(base, books(*rows), "books")
    assert (data.train.item.tolist(), data.valid.item.tolist()) == ([0], [1])


def test_rows_of_another_split_are_neither_trained_nor_validated(base: Any) -> None:
    rows = [("u0", "i0", "train"), ("odd", "odd", "extra")]
    data = domain_data(base, books(*rows), "books")
    assert (len(data.train), len(data.valid), len(data.users)) == (1, 0, 6)


def test_the_touched_rows_are_the_known_ids_of_the_train_rows(base: Any) -> None:
    rows = [("u4", "i7", "train"), ("u1", "i2", "train"), ("new", "i2", "train")]
    data = domain_data(base, books(*rows, ("u5", "i5", "valid")), "books")
    touched = touched_rows(base, data)
    assert (touched.users.tolist(), touched.items.tolist()) == ([1, 4], [2, 7])


def test_the_bias_covers_grown_items_too(base: Any) -> None:
    data = domain_data(base, books(("u1", "i2", "train"), ("u1", "fresh", "train")), "books")
    assert touched_rows(base, data).bias.tolist() == [2, 8]


def test_a_new_user_starts_between_its_items_as_long_as_the_users(base: Any) -> None:
    data = domain_data(base, books(("new", "i2", "train"), ("new", "i5", "train")), "books")
    tables = base.model.tables()
    items = torch.nn.functional.normalize(tables["items"], dim=-1)
    direction = items[2] + items[5]
    expected = direction / direction.norm() * tables["users"].norm(dim=-1).mean()
    torch.testing.assert_close(touched_rows(base, data).grown_users[0], expected)


def test_a_new_item_starts_between_its_users(base: Any) -> None:
    data = domain_data(base, books(("u1", "fresh", "train"), ("u3", "fresh", "train")), "books")
    tables = base.model.tables()
    users = torch.nn.functional.normalize(tables["users"], dim=-1)
    direction = users[1] + users[3]
    expected = direction / direction.norm() * tables["items"].norm(dim=-1).mean()
    torch.testing.assert_close(touched_rows(base, data).grown_items[0], expected)


def test_an_id_without_a_known_neighbour_starts_at_the_tables_mean(base: Any) -> None:
    data = domain_data(base, books(("new", "fresh", "train")), "books")
    users = base.model.tables()["users"]
    mean = users.mean(0)
    expected = mean / mean.norm() * users.norm(dim=-1).mean()
    torch.testing.assert_close(touched_rows(base, data).grown_users[0], expected)


def test_an_excluded_domain_grows_all_its_ids_that_the_base_lacks(world: World) -> None:
    from lorarec.data.logs import load_logs
    from lorarec.data.splits import apply_split

    base = world.load(world.other_base)
    frame = apply_split(load_logs([world.logs]), base.info.split)
    train = frame.filter((pl.col("domain") == OUTSIDE) & (pl.col("split") == "train"))
    data = domain_data(base, frame, OUTSIDE)
    new = set(train["item_id"]) - set(base.items.ids)
    assert new
    assert set(data.items.ids[len(base.items) :]) == new
    assert np.isfinite(touched_rows(base, data).grown_items.numpy()).all()


def test_where_nothing_grows_the_base_s_tables_are_not_read(
    base: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        raise AssertionError("a table was read")

    data = domain_data(base, books(("u3", "i2", "train"), ("u1", "i2", "train")), "books")
    monkeypatch.setattr(type(base.model), "user_inputs", read)
    monkeypatch.setattr(type(base.model), "item_inputs", read)
    touched = touched_rows(base, data)
    assert (touched.users.tolist(), touched.items.tolist()) == ([1, 3], [2])
    assert touched.grown_users.shape == touched.grown_items.shape == (0, base.model.dim)
