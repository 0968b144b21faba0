"""Fixtures for every room: a migrated MLflow store, and an empty project to work in."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lorarec.config import Settings, load_settings

if TYPE_CHECKING:
    from world import Ended, World

STORE = Path("mlruns") / "mlflow.db"
LONGEST = ("end_to_end", "benchmarks")
"""Folders whose tests are begun first, so that no worker is left alone with a long one."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order within a file, and of the files of a folder, stays."""
    items.sort(key=lambda item: item.path.parent.name not in LONGEST)


@pytest.fixture(scope="session")
def store_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of MLflow's schema, made once: a migration takes seconds, a copy none."""
    from lorarec.tracking.database import make_database

    database = tmp_path_factory.mktemp("template") / "mlflow.db"
    make_database(database)
    return database


@pytest.fixture(scope="session", autouse=True)
def signals_are_obeyed() -> Iterator[None]:
    """Commands that tests start can be stopped, also where the tests run under nohup."""
    asking = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    ignored = [number for number in asking if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:
        # A function is not passed on to what is started; that a signal is ignored would be.
        signal.signal(number, lambda *_: None)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def bare_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no setting from outside."""
    from lorarec.tracking.quiet import QUIET

    for name in list(os.environ):
        if name.startswith(("LORAREC_", "MLFLOW_")) and name not in QUIET:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def project(bare_project: Path, store_template: Path) -> Path:
    """A working directory with a migrated store at its default place and nothing in it."""
    (bare_project / STORE).parent.mkdir()
    shutil.copy(store_template, bare_project / STORE)
    return bare_project


@pytest.fixture
def settings(bare_project: Path) -> Settings:
    """The defaults."""
    return load_settings()


@pytest.fixture(scope="session")
def world_template(tmp_path_factory: pytest.TempPathFactory, store_template: Path) -> World:
    """Made once; tests get copies."""
    from world import DOMAINS, make_template

    from lorarec.data.logs import write_logs
    from lorarec.data.synthetic import make_logs

    folder = tmp_path_factory.mktemp("world")
    write_logs(make_logs(DOMAINS, users=120, items=80, interactions=3000), folder / "logs.parquet")
    return make_template(folder, store_template)


@pytest.fixture
def world(bare_project: Path, world_template: World) -> World:
    """A tiny pretrained and adapted world in the working directory, free to be spoilt."""
    from world import copied

    return copied(world_template, bare_project)


@pytest.fixture
def ran(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """`ran("adapt", "--domain", "books")`: a command in this process, as typed."""
    from world import Ended

    from lorarec.cli.main import _run

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        code = _run([str(argument) for argument in arguments])
        return Ended(code, *capsys.readouterr())

    return run


@pytest.fixture
def room_for() -> Callable[[int], AbstractContextManager[None]]:
    """`with room_for(4096):` lets no file grow beyond that many bytes, as on a full disk."""
    return _room_for


@contextmanager
def _room_for(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="session")
def base_maker() -> Callable[..., Any]:
    """`base_maker(similarity, bias)`: a small base of random numbers with its metadata."""
    return _make_base


def _make_base(
    similarity: Any = "cosine", bias: bool = True, users: int = 6, items: int = 8, dim: int = 4
) -> Any:
    import torch

    from lorarec.data.source import DataSource
    from lorarec.data.splits import SplitRecord
    from lorarec.data.vocabulary import Vocabulary
    from lorarec.models.artefact import Base, BaseInfo, library_versions, weights_digest
    from lorarec.models.matrix_factorization import MatrixFactorization
    from lorarec.record import FORMAT

    generator = torch.Generator().manual_seed(7)
    model = MatrixFactorization.from_tables(
        torch.randn(users, dim, generator=generator),
        torch.randn(items, dim, generator=generator),
        similarity,
        0.2,
        torch.randn(items, 1, generator=generator) if bias else None,
    ).requires_grad_(False)
    known = Vocabulary([f"u{n}" for n in range(users)]), Vocabulary([f"i{n}" for n in range(items)])
    info = BaseInfo(
        format_version=FORMAT,
        dim=dim,
        similarity=similarity,
        temperature=0.2,
        bias=bias,
        digest=weights_digest(model),
        weights_digest="",
        users=users,
        items=items,
        user_vocabulary=known[0].digest(),
        item_vocabulary=known[1].digest(),
        domains=["books"],
        excluded_domains=[],
        data=DataSource(paths=["logs.csv"], digest="d1"),
        split=SplitRecord(how="time", used="time", seed=0, valid_share=0.1, test_share=0.1),
        seed=0,
        metrics={"valid_ndcg": 0.5},
        versions=library_versions(),
    )
    return Base(model, known[0], known[1], info)
