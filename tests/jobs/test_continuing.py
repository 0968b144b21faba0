"""An adapter goes on with new rows: what has none of them stays, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor
from world import Words, World

from lorarec.data.interactions import Interactions
from lorarec.errors import (
    AdapterMismatchError,
    ArtifactError,
    ConfigError,
    DataError,
    NotFoundError,
)
from lorarec.jobs.continuing import Continued, continue_adapter
from lorarec.jobs.domain import train_and_valid
from lorarec.jobs.evaluate import evaluate
from lorarec.lora.adapter import Adapter, load_adapter
from lorarec.lora.state import AdapterState
from lorarec.record import load_record, save_record
from lorarec.tracking.registry import runs_of

SOME_USERS, SOME_ITEMS = 6, 5


@pytest.fixture
def more(world: World) -> pl.DataFrame:
    """New train rows of books: a few old users and items, a new user, a new item."""
    return new_rows_of(world, "books")


def new_rows_of(world: World, domain: str) -> pl.DataFrame:
    rows = world.frame.filter(pl.col("domain") == domain).sort("timestamp").head(400)
    users = rows["user_id"].unique(maintain_order=True).head(SOME_USERS).to_list()
    items = rows["item_id"].unique(maintain_order=True).head(SOME_ITEMS).to_list()
    pairs = [(u, i) for u in [*users, "nobody yet"] for i in [*items, "nothing yet"]]
    first = int(rows["timestamp"].min())  # type: ignore[arg-type]
    return pl.DataFrame(
        {
            "user_id": [u for u, _ in pairs],
            "item_id": [i for _, i in pairs],
            "domain": [domain] * len(pairs),
            "timestamp": [first + 1 + n for n in range(len(pairs))],
        }
    )


Go = Callable[..., Continued]


@pytest.fixture
def unvalidated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing to validate on: whatever training does is kept."""

    def without(*arguments: Any) -> tuple[Interactions, Interactions]:
        train, valid = train_and_valid(*arguments)
        return train, valid.where(np.zeros(len(valid), dtype=bool))

    monkeypatch.setattr("lorarec.jobs.going.train_and_valid", without)


@pytest.fixture
def go(world: World, tmp_path: Path) -> Go:
    """`go(rows, adapter)`: the adapter trained further with rows."""

    def continued(
        rows: pl.DataFrame | None = None,
        adapter: str = "books",
        settings: dict[str, Any] | None = None,
        words: Words | None = None,
        **options: Any,
    ) -> Continued:
        paths = []
        if rows is not None:
            count = len(list(tmp_path.glob("more*.parquet")))
            paths = [tmp_path / f"more{count}.parquet"]
            rows.write_parquet(paths[0])
        domain = options.pop("domain", "books")
        listener = (words or Words()).listener
        chosen = world.settings.with_options(settings or {})
        return continue_adapter(
            chosen, domain, adapter, world.store, paths=paths, listen=listener, **options
        )

    return continued


def loaded(world: World, uri: str, base: str | None = None) -> Adapter:
    return load_adapter(world.artifacts(uri) / "adapter", world.load(base or world.base))


def by_id(adapter: Adapter, table: str) -> dict[str, bytes]:
    """What is stored of each id: bytes of its factors, its grown vector, its bias."""
    state = AdapterState.of(adapter)
    ids = getattr(adapter, table)
    found: dict[str, bytes] = {}

    def add(rows: Tensor, values: Tensor) -> None:
        for name, value in zip(ids.take(rows.numpy()), values, strict=True):
            found[name] = found.get(name, b"") + value.numpy().tobytes()

    for part in ("a", "d"):
        if f"{table}.{part}" in state.tensors:
            add(state.rows(table), state.tensors[f"{table}.{part}"])
    grown = state.tensors[f"{table}.grown"]
    add(torch.arange(len(grown)) + state.known[table], grown)
    if table == "items" and "bias.b" in state.tensors:
        add(state.rows("bias"), state.tensors["bias.b"])
    return found


def same(first: dict[str, bytes], second: dict[str, bytes], ids: set[str]) -> list[bool]:
    return [first[name] == second[name] for name in sorted(ids)]


@pytest.mark.usefixtures("unvalidated")
@pytest.mark.parametrize("freeze", [False, True])
def test_what_is_stored_of_ids_without_a_new_row_stays_to_the_bit(
    world: World, more: pl.DataFrame, go: Go, freeze: bool
) -> None:
    done = go(more, freeze_shared=freeze)
    before, after = loaded(world, world.adapter), loaded(world, done.run)
    assert done.moved
    for table, column in (("users", "user_id"), ("items", "item_id")):
        was, now = by_id(before, table), by_id(after, table)
        new = set(more[column])
        assert len(was.keys() - new) > 10
        assert all(same(was, now, was.keys() - new))
        assert not all(same(was, now, was.keys() & new))
        assert now.keys() == was.keys() | new


@pytest.mark.usefixtures("unvalidated")
def test_it_holds_for_grown_rows_too(world: World, go: Go) -> None:
    rows = new_rows_of(world, "games")
    old = loaded(world, world.other_adapter, world.other_base)
    grown = set(AdapterState.of(old).grown["users"])
    assert grown & set(rows["user_id"])
    assert grown - set(rows["user_id"])
    done = go(rows, world.other_adapter, domain="games")
    now = loaded(world, done.run, world.other_base)
    assert done.moved
    for table, column in (("users", "user_id"), ("items", "item_id")):
        was, become, new = by_id(old, table), by_id(now, table), set(rows[column])
        assert all(same(was, become, was.keys() - new))
        assert not any(same(was, become, was.keys() & new))


@pytest.mark.usefixtures("unvalidated")
def test_with_what_is_shared_frozen_their_vectors_stay_too(
    world: World, more: pl.DataFrame, go: Go
) -> None:
    done = go(more, freeze_shared=True)
    before, after = loaded(world, world.adapter), loaded(world, done.run)
    for name in ("users.b", "items.b", "transform.p", "transform.q", "bias.cold"):
        one, two = (AdapterState.of(each).tensors[name] for each in (before, after))
        assert torch.equal(one, two)
    users = rest(before, "users", more["user_id"])
    items = rest(before, "items", more["item_id"])
    assert torch.equal(before.model.user_vectors(users), after.model.user_vectors(users))
    assert torch.equal(before.model.item_vectors(items), after.model.item_vectors(items))
    assert torch.equal(bias_of(before, items), bias_of(after, items))
    for each in done.drift.values():
        assert each.rows > 10
        assert each.mean == each.largest == 0.0


def rest(adapter: Adapter, table: str, new: pl.Series) -> Tensor:
    """Rows of all ids of the base and the adapter without a new row."""
    vocabulary = getattr(adapter, table)
    every = np.arange(len(vocabulary))
    return torch.from_numpy(np.setdiff1d(every, vocabulary.rows(new, missing="mark")))


def bias_of(adapter: Adapter, items: Tensor) -> Tensor:
    found = adapter.model.item_bias(items)
    assert found is not None
    return found


@pytest.mark.usefixtures("unvalidated")
def test_else_their_drift_is_reported_and_true(world: World, more: pl.DataFrame, go: Go) -> None:
    words = Words()
    done = go(more, words=words)
    before, after = loaded(world, world.adapter), loaded(world, done.run)
    own = AdapterState.of(before).rows("users")
    new = torch.from_numpy(before.users.rows(more["user_id"], missing="mark"))
    own = own[~torch.isin(own, new)]
    was, now = before.model.user_vectors(own), after.model.user_vectors(own)
    moved = (now - was).norm(dim=1) / was.norm(dim=1)
    found = done.drift["users"]
    assert found.rows == len(own)
    assert found.mean == pytest.approx(float(moved.mean()), rel=1e-4)
    assert found.largest == pytest.approx(float(moved.max()), rel=1e-4)
    assert found.mean > 0
    assert f"{found.mean:.4f} on the mean" in words
    metrics = world.run(done.run).metrics
    assert metrics["drift_users_largest"] == pytest.approx(found.largest)


@pytest.mark.usefixtures("unvalidated")
def test_a_strong_proximal_term_keeps_it_near(world: World, more: pl.DataFrame, go: Go) -> None:
    near = go(more, world.adapter, settings={"adapt.proximal": 15.0}).drift["items"]
    far = go(more, world.adapter, settings={"adapt.proximal": 0.0}).drift["items"]
    assert near.mean < 0.6 * far.mean


def test_it_is_never_worse_on_validation_than_where_it_began(more: pl.DataFrame, go: Go) -> None:
    words = Words()
    wild = {"adapt.learning_rate": 30.0, "adapt.proximal": 0.0}
    done = go(more, settings=wild, words=words)
    assert not done.moved
    assert done.adapter.info.metrics == done.before
    assert "the adapter stays as it was" in words
    assert [each.largest for each in done.drift.values()] == [0.0, 0.0]


def test_the_start_scores_as_the_adapter_did(world: World, more: pl.DataFrame, go: Go) -> None:
    done = go(more, settings={"adapt.learning_rate": 30.0, "adapt.proximal": 0.0})
    before, after = loaded(world, world.adapter), loaded(world, done.run)
    users = torch.arange(len(before.users))
    items = torch.from_numpy(after.items.rows(before.items.series))
    # A product over more rows may round each of them otherwise.
    was, now = before.model.user_vectors(users), after.model.user_vectors(users)
    assert torch.allclose(was, now, atol=1e-6)
    every = torch.arange(len(before.items))
    was, now = before.model.item_vectors(every), after.model.item_vectors(items)
    assert torch.allclose(was, now, atol=1e-6)
    assert torch.equal(bias_of(before, every), bias_of(after, items))


def test_it_names_what_it_went_on_from_and_is_what_later_commands_take(
    world: World, more: pl.DataFrame, go: Go
) -> None:
    done = go(more)
    run = world.run(done.run)
    assert (run.kind, run.tag("parents"), run.tag("domain")) == ("adapt", world.adapter, "books")
    info = loaded(world, done.run).info
    assert info.made_of is not None
    assert info.made_of.how == "continue"
    assert info.made_of.parents == [loaded(world, world.adapter).info.digest]
    assert info.data_digest == run.tag("data_digest") != world.run(world.adapter).tag("data_digest")
    again = go(more.with_columns(pl.col("timestamp") + 1))
    assert again.parent.name == done.run


def test_rows_that_were_trained_on_are_not_new(world: World, more: pl.DataFrame, go: Go) -> None:
    whole = pl.concat([world.frame.select(more.columns), more])
    done = go(whole)
    assert done.new["rows"] == more.height
    assert done.new["grown_users"] == done.new["grown_items"] == 1
    with pytest.raises(DataError, match=r"No train row of 'books' in .*more1\.parquet is new: the"):
        go(more)  # the newest adapter has them now
    with pytest.raises(DataError, match="which do not grow by themselves"):
        go()


def test_a_row_from_the_cut_off_on_is_held_out(more: pl.DataFrame, go: Go) -> None:
    late = more.with_columns(timestamp=pl.lit(2**33, pl.Int64))
    with pytest.raises(DataError, match="42 of other parts are \\(42 in test\\)"):
        go(late)


def test_where_old_logs_have_changed_all_rows_count_as_new(
    world: World, more: pl.DataFrame, go: Go
) -> None:
    world.frame.head(2000).write_parquet(world.logs)
    words = Words()
    done = go(pl.concat([world.frame.select(more.columns), more]), words=words)
    assert done.new["rows"] > 10 * more.height
    assert "every train row given counts as new" in words


def test_another_base_is_refused_with_both_digests(
    world: World, more: pl.DataFrame, go: Go
) -> None:
    with pytest.raises(AdapterMismatchError) as caught:
        go(more, world.adapter, base=world.other_base)
    for part in (world.load(world.base).digest, world.load(world.other_base).digest, "rebase"):
        assert part in str(caught.value)


def test_an_adapter_of_another_domain_is_refused(world: World, more: pl.DataFrame, go: Go) -> None:
    with pytest.raises(NotFoundError, match=r"is of domain 'books'\. Expected one of 'movies'"):
        go(more, world.adapter, domain="movies")


def test_an_adapter_of_a_newer_format_is_refused(world: World, more: pl.DataFrame, go: Go) -> None:
    path = world.artifacts(world.adapter) / "adapter" / "adapter.json"
    from lorarec.lora.adapter import AdapterInfo

    info = load_record(path, AdapterInfo)
    save_record(path, info.model_copy(update={"format_version": 99}))
    with pytest.raises(ArtifactError, match="format version 99"):
        go(more, world.adapter)


def test_a_later_cut_off_trains_what_was_held_out_and_moves_the_evaluation(
    world: World, go: Go
) -> None:
    before = loaded(world, world.adapter).info.split
    moments = world.frame["timestamp"]
    cuts = [int(moments.quantile(q)) for q in (0.9, 0.95)]  # type: ignore[arg-type]
    assert before.t_valid is not None
    assert cuts[0] > before.t_valid
    words = Words()
    done = go(settings={"data.cutoffs": cuts}, words=words)
    held = world.frame.filter(
        (pl.col("domain") == "books")
        & (pl.col("timestamp") >= before.t_valid)
        & (pl.col("timestamp") < cuts[0])
    )
    assert done.new["rows"] == held.height
    assert f"moves on from {before.t_valid} to {cuts[0]}" in words
    info = loaded(world, done.run).info
    assert (info.split.t_valid, info.split.t_test) == tuple(cuts)
    assert world.run(done.run).tag("cutoff") == str(cuts[1])
    found = evaluate(world.settings, "books", world.store)
    test = world.frame.filter((pl.col("domain") == "books") & (pl.col("timestamp") >= cuts[1]))
    assert set(found.users) == set(test["user_id"])
    run = world.run(found.run)
    assert (run.tag("adapter_digest"), run.tag("cutoff")) == (info.digest, str(cuts[1]))
    # The bare base, and adapters that have not moved on, are evaluated where they were.
    bare = evaluate(world.settings, "books", world.store, adapter="none")
    assert world.run(bare.run).tag("cutoff") == str(before.t_test)


def test_full_fine_tuning_beside_it_is_of_the_same_cut_off(world: World, go: Go) -> None:
    arms = world.settings.with_options({"evaluate.arms": ["full", "lora"]})
    evaluate(arms, "books", world.store)
    cuts = [int(world.frame["timestamp"].quantile(q)) for q in (0.9, 0.95)]  # type: ignore[arg-type]
    go(settings={"data.cutoffs": cuts})
    evaluate(arms, "books", world.store)
    evaluate(arms, "books", world.store)
    evaluate(arms, "books", world.store, adapter=world.adapter)
    full = [run.tag("cutoff") for run in runs_of(world.store, "full")]
    before = loaded(world, world.adapter).info.split.t_test
    assert full == [str(cuts[1]), str(before)]


@pytest.mark.parametrize("cuts", [(0.9, 0.95), (0.85, None)])
def test_what_is_trained_beside_it_has_the_same_rows_held_out(
    world: World, go: Go, cuts: tuple[float, float | None]
) -> None:
    arms = world.settings.with_options({"evaluate.arms": ["bias", "full", "lora"]})
    evaluate(arms, "books", world.store)
    moments, before = world.frame["timestamp"], loaded(world, world.adapter).info.split
    later = [before.t_test if q is None else int(moments.quantile(q)) for q in cuts]  # type: ignore[arg-type]
    go(settings={"data.cutoffs": later})
    words = Words()
    evaluate(arms, "books", world.store, listen=words.listener)
    for arm in ("Bias alone", "Full fine-tuning"):
        assert f"{arm}: none made this way yet" in words
    words = Words()
    evaluate(arms, "books", world.store, listen=words.listener)
    assert "none made this way yet" not in words


@pytest.mark.usefixtures("unvalidated")
def test_the_seed_that_is_asked_for_draws(world: World, more: pl.DataFrame, go: Go) -> None:
    made = [go(more, world.adapter, {"train.seed": seed}).adapter.info.digest for seed in (0, 0, 7)]
    assert made[0] == made[1] != made[2]


def test_an_earlier_cut_off_is_refused(world: World, go: Go) -> None:
    cuts = [int(world.frame["timestamp"].quantile(q)) for q in (0.3, 0.4)]  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Expected that moment or a later one"):
        go(settings={"data.cutoffs": cuts})


def test_logs_without_the_domain_are_refused(more: pl.DataFrame, go: Go) -> None:
    with pytest.raises(NotFoundError, match=r"no domain 'books' in .* Did you mean 'bookz'"):
        go(more.with_columns(domain=pl.lit("bookz")))
