"""Forgetting: what goes, that nobody else's score moves, and what a kill leaves."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from naming import contents, naming
from world import World, copied, store_in

from lorarec.data.forgotten import Forgotten
from lorarec.data.prepared.build import append, prepare
from lorarec.data.prepared.dataset import open_dataset
from lorarec.data.prepared.manifest import Options
from lorarec.errors import ConfigError, DataError, StoreError
from lorarec.jobs.adapt import adapt
from lorarec.jobs.derive_adapter import Asked, truncate_adapter
from lorarec.jobs.evaluate import evaluate
from lorarec.jobs.forget import Forgot, forget
from lorarec.jobs.index_domain import build_index, open_index
from lorarec.jobs.pretrain import pretrain
from lorarec.jobs.promote import promote
from lorarec.jobs.recommend import prepare as ready_for
from lorarec.jobs.report import report
from lorarec.lora.adapter import AdapterInfo, load_adapter
from lorarec.record import load_record
from lorarec.tracking import flip as flipping
from lorarec.tracking.flip import finish, plan_path
from lorarec.tracking.versions import find_version

CHAMPION = "models:/lorarec-books@champion"
Scores = dict[str, np.ndarray[Any, Any]]


def renamed(frame: pl.DataFrame) -> pl.DataFrame:
    """Logs whose ids are no part of any other text."""
    return frame.with_columns(
        user_id="person-" + pl.col("user_id") + "-x", item_id="thing-" + pl.col("item_id") + "-x"
    )


@dataclass(frozen=True)
class Made:
    """A project on a prepared data set: base, adapters, champion, index, tables and a page."""

    world: World
    base: str
    books: str
    games: str
    cut: str
    """Truncated from that of games."""
    user: str
    """Known to the base, in books."""
    grown: str
    """A user that only the adapter of games knows."""
    item: str

    @property
    def folder(self) -> Path:
        return self.world.folder

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def index(self) -> Path:
        return self.folder / "index"

    @property
    def logs(self) -> list[Path]:
        return [self.folder / "first.parquet", self.folder / "second.parquet"]

    @property
    def frame(self) -> pl.DataFrame:
        return pl.concat([pl.read_parquet(path) for path in self.logs])

    @property
    def all_three(self) -> Forgotten:
        return Forgotten.of([self.user, self.grown], [self.item])

    def scores(self, without: Forgotten) -> Scores:
        """Of all pairs of those who stay, by each adapter and the bare base of its domain."""
        found = {}
        for domain, adapter in (
            ("books", self.books), ("books", CHAMPION), ("books", "none"),
            ("games", self.games), ("games", self.cut),
        ):  # fmt: skip
            ready = ready_for(domain, self.world.store, base=self.base, adapter=adapter)
            users = [u for u in sorted(self.frame["user_id"].unique()) if u not in without.users]
            items = [i for i in sorted(self.frame["item_id"].unique()) if i not in without.items]
            vectors, own = ready.scorer.user_vectors(pl.Series(users))
            item_vectors, bias, known = ready.scorer.item_vectors(pl.Series(items))
            assert own.sum() > 50
            assert known.sum() > 30
            # Who has no vector gets the mean of those who have, and that is of who is left.
            found[f"{domain} {adapter}"] = vectors[own] @ item_vectors[known].T + bias[known]
        return found


def make(world: World) -> Made:
    frame = renamed(world.frame).sort("timestamp")
    data, logs = world.folder / "data", [world.folder / f"{n}.parquet" for n in ("first", "second")]
    frame[:2500].write_parquet(logs[0])
    frame[2500:].write_parquet(logs[1])
    prepare([logs[0]], data, Options())
    settings = world.settings.with_options({"gate.min_effect": -1.0, "evaluate.k": "5,20"})
    base = pretrain(settings, [data], world.store, ["games"]).run
    append(data, [logs[1]])
    books = adapt(settings, "books", world.store, base).run
    games = adapt(settings, "games", world.store, base).run
    cut = str(truncate_adapter(settings, world.store, games, 1, Asked()).run)
    promote(settings, "books", world.store, books, force="test")
    evaluate(settings, "books", world.store, adapter=books)
    build_index(ready_for("books", world.store, adapter=books), world.folder / "index", "Flat", k=5)
    report(settings, world.store, [], world.folder / "page.html")
    known = world.load(base)
    read = load_adapter(world.artifacts(games) / "adapter", known)
    early = frame[:1500].filter(pl.col("domain") == "books")
    return Made(
        world,
        base,
        books,
        games,
        cut,
        str(early["user_id"].mode().sort()[0]),
        str(read.users.ids[len(known.users)]),
        str(early["item_id"].mode().sort()[0]),
    )


@pytest.fixture(scope="module")
def template(world_template: World, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Made once: seconds."""
    return make(copied(world_template, tmp_path_factory.mktemp("made")))


@pytest.fixture
def made(bare_project: Path, template: Made) -> Made:
    """In the working directory, free to be spoilt."""
    old = str(template.folder)
    world = copied(template.world, bare_project)
    with closing(sqlite3.connect(bare_project / "mlruns" / "mlflow.db")) as database, database:
        new = (old, str(bare_project))
        database.execute("UPDATE model_versions SET source = replace(source, ?, ?)", new)
    return replace(template, world=world)


def rid(made: Made, forgotten: Forgotten, **how: Any) -> Forgot:
    return forget(made.world.store, forgotten, [made.index], **how)


def test_it_goes_everywhere_and_nobody_elses_score_moves(made: Made) -> None:
    forgotten = made.all_three
    before = made.scores(forgotten)
    digest = made.world.load(made.base).digest
    for logs in made.logs:
        logs.rename(logs.with_suffix(".away"))
    places = [made.folder / "mlruns", made.data, made.index]
    assert all(naming(place, made.item) for place in places)
    assert naming(made.folder / "mlruns", made.user)
    found = rid(made, forgotten)
    assert found.rows > 0
    for text in forgotten.texts:
        assert [naming(place, text) for place in places] == [[], [], []]
    for logs in made.logs:
        logs.with_suffix(".away").rename(logs)
    after = made.scores(forgotten)
    assert before.keys() == after.keys()
    for name, scores in before.items():
        assert np.array_equal(scores, after[name]), name
    base = made.world.load(made.base)
    assert base.info.forgotten_from == digest != base.digest
    assert made.world.run(made.base).tag("base_digest") == base.digest
    child = load_record(made.world.artifacts(made.cut) / "adapter" / "adapter.json", AdapterInfo)
    parent = load_record(made.world.artifacts(made.games) / "adapter" / "adapter.json", AdapterInfo)
    assert child.made_of is not None
    assert child.made_of.parents == [parent.digest]
    assert child.base_digest == base.digest
    assert find_version(made.world.store, CHAMPION).tag("base_digest") == base.digest
    stored = open_index(made.index, ready_for("books", made.world.store, adapter=CHAMPION))
    assert stored.items.rows([made.item], missing="mark")[0] == -1
    kinds = {each.what for each in found.touched}
    assert kinds == {"data set", "base", "adapter", "index", "table", "report"}
    again = rid(made, forgotten)
    assert (again.touched, again.rows) == ([], 0)


def test_what_comes_after_works_on_what_is_left(made: Made) -> None:
    rows = len(open_dataset(made.data))
    rid(made, Forgotten.of([made.user]))
    left = open_dataset(made.data)
    assert len(left) < rows
    assert left.users.forgotten == 1
    assert sum(count.rows for count in left.split.counts.values()) == len(left)  # type: ignore[union-attr]
    settings = made.world.settings
    adapt(settings, "books", made.world.store, made.base)
    evaluate(settings, "books", made.world.store, adapter=made.books)
    made.frame.filter(pl.col("user_id") == made.user)[:3].write_parquet(
        made.folder / "third.parquet"
    )
    added = append(made.data, [made.folder / "third.parquet"])
    assert added.dataset.users.rows([made.user])[0] == len(left.users), "a row of its own again"


def test_a_dry_run_changes_nothing(made: Made) -> None:
    before = contents(made.folder)
    found = rid(made, Forgotten.of([made.user], [made.item]), dry_run=True)
    assert found.dry_run
    assert {each.what for each in found.touched} >= {"data set", "base", "adapter", "table"}
    assert contents(made.folder) == before


@pytest.mark.parametrize("after", [0, 1, 3])
def test_killed_in_the_middle_the_next_call_finishes(
    made: Made, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    forgotten = Forgotten.of([made.user])
    before = made.scores(forgotten)
    whole, calls = flipping._replace, []

    def killed(*places: Path) -> None:
        calls.append(places)
        if len(calls) > after:
            raise KeyboardInterrupt
        whole(*places)

    monkeypatch.setattr(flipping, "_replace", killed)
    with pytest.raises(KeyboardInterrupt):
        rid(made, forgotten)
    monkeypatch.setattr(flipping, "_replace", whole)
    with pytest.raises(StoreError, match="lorarec forget --finish"):
        store_in(made.folder)
    assert finish(made.world.store)
    assert not plan_path(made.folder / "mlruns" / "mlflow.db").exists()
    assert naming(made.folder / "mlruns", made.user) == []
    after_it = made.scores(forgotten)
    assert all(np.array_equal(scores, after_it[name]) for name, scores in before.items())


def test_killed_before_the_store_changes_the_next_call_begins_again(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lorarec.jobs import forget as module

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "carry_out", killed)
    with pytest.raises(KeyboardInterrupt):
        rid(made, Forgotten.of([made.user]))
    monkeypatch.undo()
    monkeypatch.chdir(made.folder)
    ready_for("books", made.world.store, adapter=CHAMPION)  # the base reads the data set still
    rid(made, Forgotten.of([made.user]))
    assert naming(made.folder / "mlruns", made.user) == []
    assert naming(made.data, made.user) == []


def test_logs_are_out_of_reach_and_what_to_do_is_said(world: World) -> None:
    user = str(world.frame["user_id"].mode()[0])
    before = ready_for("books", world.store, adapter=world.adapter)
    others = pl.Series(sorted(set(world.frame["user_id"]) - {user}))
    scores, own = before.scorer.user_vectors(others)
    found = forget(world.store, Forgotten.of([user]))
    rows = world.frame.filter(pl.col("user_id") == user).height
    assert any(f"delete the {rows:,} rows" in each for each in found.out_of_reach)
    with pytest.raises(DataError, match="still hold rows of ids that were forgotten"):
        ready_for("books", world.store, adapter=world.adapter)
    world.frame.filter(pl.col("user_id") != user).write_parquet(world.logs)
    after = ready_for("books", world.store, adapter=world.adapter)
    assert np.array_equal(after.scorer.user_vectors(others)[0][own], scores[own])


def test_a_message_that_named_it_is_hidden_in_the_database_too(world: World) -> None:
    user = "person-nobody-else-x"
    with pytest.raises(DataError), world.store.run("x", "evaluate"):
        raise DataError(f"There is no user {user!r} here.")
    found = forget(world.store, Forgotten.of([user]))
    assert [each.what for each in found.touched] == ["message"]
    with closing(sqlite3.connect(world.folder / "mlruns" / "mlflow.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert naming(world.folder / "mlruns", user) == []


def test_what_cannot_be_rewritten_is_listed_and_nothing_changes(made: Made) -> None:
    note = made.world.artifacts(made.base) / "note.txt"
    note.write_text(f"best customer: {made.user}\n")
    digest = made.world.load(made.base).digest
    with pytest.raises(ConfigError, match=r"note\.txt"):
        rid(made, Forgotten.of([made.user]))
    assert made.world.load(made.base).digest == digest
    assert open_dataset(made.data).users.forgotten == 0
    assert not list((made.folder / "mlruns").rglob(".*.tmp"))


def test_a_run_in_progress_is_waited_for(world: World) -> None:
    with world.store.run("x", "adapt"), pytest.raises(ConfigError, match="in progress"):
        forget(world.store, Forgotten.of(["u1"]))


def test_a_user_and_an_item_of_one_name_are_two(world: World) -> None:
    item = str(world.frame["item_id"][0])
    found = forget(world.store, Forgotten.of([item]))
    assert found.touched == []
    with pytest.raises(ConfigError, match="No id was named"):
        Forgotten.of()


def test_towers_forget_features_and_history_and_who_has_features_alone(world: World) -> None:
    users = world.frame["user_id"].unique().sort().to_list()
    items = [*world.frame["item_id"].unique().sort(), "never-seen"]
    kinds = [("a", "b", "c")[n % 3] for n in range(len(items))]
    pl.DataFrame({"item_id": items, "kind": kinds}).write_csv(world.folder / "items.csv")
    ages = [float(n % 4) for n in range(len(users))]
    pl.DataFrame({"user_id": users, "age": ages}).write_csv(world.folder / "users.csv")
    settings = world.settings.with_options(
        {
            "model.name": "two-tower",
            "model.layers": [8],
            "model.history": "mean",
            "features.items": str(world.folder / "items.csv"),
            "features.users": str(world.folder / "users.csv"),
        }
    )
    made = pretrain(settings, [world.logs], world.store).run
    before = world.load(made)
    user = str(before.users.ids[3])
    forgotten = Forgotten.of([user], ["never-seen"])
    with pytest.raises(ConfigError, match="known by what they had"):
        forget(world.store, Forgotten.of(items=[str(before.items.ids[0])]))
    found = forget(world.store, forgotten)
    assert any("users.csv: delete the ids' rows" in each for each in found.out_of_reach)
    after = world.load(made)
    rows = torch.tensor([n for n in range(len(before.users)) if n != 3])
    things = torch.arange(len(before.items))
    for name, of in (("user_vectors", rows), ("item_vectors", things)):
        assert torch.equal(getattr(after.model, name)(of), getattr(before.model, name)(of))
    history = after.model.history  # type: ignore[union-attr]
    assert history.offsets[3] == history.offsets[4]
    assert after.features["items"].described.forgotten == 1
    nobody = after.model.user_tower.features.unknown  # type: ignore[union-attr]
    told = after.model.user_tower.features(torch.tensor([3, nobody]))  # type: ignore[union-attr]
    assert torch.equal(told[0], told[1])
    assert naming(world.artifacts(made), "never-seen") == []


def test_a_logged_model_that_holds_it_goes(made: Made) -> None:
    folder = made.world.artifacts(made.base) / "model"
    (folder / "artifacts").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    pl.DataFrame({"user_id": [made.user]}).write_parquet(folder / "artifacts" / "rows.parquet")
    found = rid(made, Forgotten.of([made.user]))
    assert ("model", f"{made.base}/model") in {(each.what, each.name) for each in found.touched}
    assert not folder.exists()


def test_what_killed_processes_left_goes_too(made: Made) -> None:
    orphan = made.folder / "mlruns" / "artifacts" / ("a" * 32)
    orphan.mkdir()
    (orphan / "half").write_text(made.user)
    half = made.world.artifacts(made.base) / ".base.12345678.tmp"
    half.mkdir()
    (half / "users.parquet").write_text(made.user)
    rid(made, Forgotten.of([made.user]))
    assert naming(made.folder / "mlruns", made.user) == []
    assert not orphan.exists()


def test_other_projects_of_the_store_forget_too(made: Made) -> None:
    client = made.world.store.client
    other = client.create_experiment("elsewhere", str(made.folder / "mlruns" / "artifacts"))
    tags = made.world.run(made.base).tags
    run = client.create_run(other, tags=tags)
    client.set_terminated(run.info.run_id)
    shutil.copytree(made.world.artifacts(made.base), run.info.artifact_uri, dirs_exist_ok=True)
    rid(made, Forgotten.of([made.user]))
    digest = made.world.load(made.base).digest
    assert client.get_run(run.info.run_id).data.tags["lorarec.base_digest"] == digest
    assert naming(made.folder / "mlruns", made.user) == []
