"""All domains as one MLflow model: what it answers, what lies in it, and what it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from world import Ended, World

from lorarec.errors import ArtifactError
from lorarec.jobs.recommend import prepare, recommend
from lorarec.serving.bundle import BundleSource, write_bundle
from lorarec.serving.pool import Pool
from lorarec.serving.snapshot import Query
from lorarec.serving.store import StoreSource

USER = "u00057"


@pytest.fixture
def bundle(world: World) -> Path:
    """What serves in the world."""
    folder = world.folder / "bundle"
    folder.mkdir()
    write_bundle(StoreSource(world.store), folder)
    return folder


@pytest.mark.filterwarnings("ignore::UserWarning")  # of MLflow, about its own type hints
def test_the_model_answers_as_recommend_does_and_needs_no_logs(
    world: World, ran: Callable[..., Ended]
) -> None:
    import mlflow.pyfunc

    wanted = recommend(prepare("books", world.store), USER, 4)
    done = ran("serve", "--log-model", "--json")
    assert done.code == 0, done.err
    assert done.json["domains"] == ["books", "games", "movies"]
    folder = world.artifacts(done.json["run"]) / "model"
    assert not [file for file in folder.rglob("*") if file.suffix in (".pkl", ".pickle")]
    away = world.folder / "elsewhere"
    shutil.move(folder, away)
    shutil.rmtree(world.folder / "mlruns")
    world.logs.unlink()
    model = mlflow.pyfunc.load_model(str(away))
    asked = pd.DataFrame(
        {"domain": ["books", "movies", "books"], "user_id": [USER, None, None],
         "history": [[], [], wanted.items[:2]], "k": [4, 2, 3]}
    )  # fmt: skip
    found = model.predict(asked)
    assert found["items"][0] == wanted.items
    assert found["scores"][0] == pytest.approx(wanted.scores)
    assert found["fallback"].to_list()[1:] == ["popular", "history"]
    assert [len(items) for items in found["items"]] == [4, 2, 3]
    alone = model.predict(pd.DataFrame({"domain": ["books"], "user_id": [USER]}))
    assert alone["items"][0][:4] == wanted.items
    names = model.metadata.signature.inputs.input_names()
    assert names == ["domain", "user_id", "history", "k"]


def test_a_bundle_answers_as_the_store_and_has_a_base_once(world: World, bundle: Path) -> None:
    queries = [Query("books", USER), Query("games", "u00001", k=3), Query("movies", None)]
    assert Pool(BundleSource(bundle)).answer(queries) == Pool(StoreSource(world.store)).answer(
        queries
    )
    assert len(list(bundle.glob("base-*"))) == 1


@pytest.mark.parametrize("file", ["rows.parquet", "adapter/adapter.safetensors"])
def test_an_edited_bundle_is_refused(bundle: Path, file: str) -> None:
    source = BundleSource(bundle)
    path = bundle / source.info.domains["books"].folder / file
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ArtifactError, match="digest"):
        Pool(source).get("books")


def test_an_adapter_of_another_time_is_refused(world: World, bundle: Path) -> None:
    source = BundleSource(bundle)
    own = bundle / source.info.domains["books"].folder / "adapter"
    shutil.rmtree(own)
    newer = world.adapt("books", {"train.seed": 3}).run
    shutil.copytree(world.artifacts(newer) / "adapter", own)
    with pytest.raises(ArtifactError, match="edited or replaced"):
        Pool(source).get("books")
