from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lorarec.data.interactions import Interactions
from lorarec.errors import ArtifactError, ConfigError, DivergedError, StoreError, TrainingError
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.training.checkpoint import RECORD, Checkpoints
from lorarec.training.examples import DomainExamples, examples_of
from lorarec.training.loop import History, Options, Progress, fit
from lorarec.training.objective import Objective
from lorarec.training.validation import RankingValidation

Indexed = Callable[..., Interactions]
OPTIONS = Options(
    epochs=6, batch_size=8, negatives=3, learning_rate=0.05, averaging=0.3, decay="cosine"
)
CONFIG: Mapping[str, Any] = {"train.epochs": 6, "data": "d1"}


class KilledError(Exception):
    """Stands for kill -9: nothing is tidied up."""


@pytest.fixture
def logs(indexed: Indexed) -> Interactions:
    rows = []
    for user in range(12):
        liked = [item for item in range(10) if item % 2 == user % 2]
        held = liked[user % 5]
        rows += [f"{user} {item} d {'valid' if item == held else 'train'}" for item in liked]
    return indexed(rows, 12, 10)


class Dropped(nn.Module):
    """Item vectors with dropout and a dense layer: random layers and AdamW take part."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        nn.init.eye_(self.layer.weight)
        self.dropout = nn.Dropout(0.3)

    def forward(self, vectors: Tensor) -> Tensor:
        found: Tensor = self.dropout(self.layer(vectors))
        return found


def made() -> MatrixFactorization:
    model = MatrixFactorization.create(12, 10, 4, seed=1)
    torch.manual_seed(7)
    return model.replaced(transform=Dropped())


def train(
    logs: Interactions,
    checkpoints: Checkpoints | None = None,
    kill_at: int | None = None,
    options: Options = OPTIONS,
    **fields: Any,
) -> tuple[dict[str, Tensor], History]:
    """A whole training, or one that is killed once so many steps were reported."""
    model, steps = made(), 0
    check = RankingValidation(logs.part("train"), logs.part("valid"), ["d"])

    def report(progress: Progress) -> None:
        nonlocal steps
        steps += progress.rows > 0
        if kill_at is not None and steps >= kill_at:
            raise KilledError

    parameters = dict(model.named_parameters())
    history = fit(
        {"d": model},
        parameters,
        examples_of(logs.part("train"), ["d"]),
        replace(options, **fields),
        lambda: check({"d": model}),
        report,
        checkpoints,
    )
    return {name: p.detach().clone() for name, p in parameters.items()}, history


def same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
@pytest.mark.parametrize("every", [1, 5, 6], ids=["each step", "mid-epoch", "end of an epoch"])
@pytest.mark.parametrize("kill_at", [9, 21])
def test_a_killed_training_goes_on_to_the_same_bits(
    logs: Interactions, tmp_path: Path, every: int, kill_at: int, optimizer: Any
) -> None:
    whole, straight = train(logs, optimizer=optimizer)
    saving = Checkpoints(tmp_path, CONFIG, every_steps=every)
    with pytest.raises(KilledError):
        train(logs, saving, kill_at, optimizer=optimizer)
    assert saving.saved_step is not None
    assert kill_at - saving.saved_step <= every
    resumed, history = train(logs, Checkpoints(tmp_path, CONFIG, resume=True), optimizer=optimizer)
    assert same(resumed, whole)
    assert history.epochs == straight.epochs
    assert (history.best_epoch, history.best) == (straight.best_epoch, straight.best)


def test_asked_to_stop_it_saves_and_goes_on_to_the_same_bits(
    logs: Interactions, tmp_path: Path
) -> None:
    whole, _ = train(logs)
    asked = iter([False] * 3 + [True] * 2)
    stopping = Checkpoints(tmp_path, CONFIG, stop=lambda: next(asked))
    _, history = train(logs, stopping)
    assert history.stopped
    assert stopping.saved_step == 4
    resumed, history = train(logs, Checkpoints(tmp_path, CONFIG, resume=True))
    assert not history.stopped
    assert same(resumed, whole)


def test_saving_changes_nothing(logs: Interactions, tmp_path: Path) -> None:
    saved, _ = train(logs, Checkpoints(tmp_path, CONFIG, every_steps=1))
    assert same(saved, train(logs)[0])


def test_early_stopping_goes_on_counting(logs: Interactions, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"epochs": 40, "patience": 2, "learning_rate": 0.3}
    whole, straight = train(logs, **fields)
    assert len(straight.epochs) < 40
    last = 6 * (len(straight.epochs) - 1) - 1
    with pytest.raises(KilledError):
        train(logs, Checkpoints(tmp_path, CONFIG, every_steps=1), last, **fields)
    resumed, history = train(logs, Checkpoints(tmp_path, CONFIG, resume=True), **fields)
    assert len(history.epochs) == len(straight.epochs)
    assert same(resumed, whole)


def test_one_checkpoint_is_kept_and_removed_whole(logs: Interactions, tmp_path: Path) -> None:
    for left in (
        "checkpoint-3-a.safetensors",
        ".checkpoint-3-a.safetensors.12.tmp",
        ".checkpoint.json.12.tmp",
    ):
        (tmp_path / left).touch()
    checkpoints = Checkpoints(tmp_path, CONFIG, every_steps=1)
    train(logs, checkpoints)
    assert len(list(tmp_path.iterdir())) == 2
    checkpoints.remove()
    assert list(tmp_path.iterdir()) == []


def test_killed_between_its_two_files_the_one_before_stands(
    logs: Interactions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saving = Checkpoints(tmp_path, CONFIG, every_steps=4)
    from lorarec.training import checkpoint

    written = checkpoint.save_record
    calls = []

    def killed(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KilledError
        written(*arguments)

    monkeypatch.setattr(checkpoint, "save_record", killed)
    with pytest.raises(KilledError):
        train(logs, saving)
    monkeypatch.undo()
    again = Checkpoints(tmp_path, CONFIG, resume=True)
    assert again.there == 4
    assert same(train(logs, again)[0], train(logs)[0])


def test_other_settings_are_refused_with_those_that_differ(
    logs: Interactions, tmp_path: Path
) -> None:
    train(logs, Checkpoints(tmp_path, CONFIG, every_steps=1))
    other = Checkpoints(tmp_path, {**CONFIG, "train.epochs": 9}, resume=True)
    with pytest.raises(ConfigError, match=r"1 differ.*train\.epochs is 9 here and 6 there"):
        other.open()


def test_a_checkpoint_is_not_overwritten_unasked(logs: Interactions, tmp_path: Path) -> None:
    train(logs, Checkpoints(tmp_path, CONFIG, every_steps=1))
    with pytest.raises(StoreError, match="--resume"):
        Checkpoints(tmp_path, CONFIG).open()


def test_a_damaged_checkpoint_is_refused(logs: Interactions, tmp_path: Path) -> None:
    train(logs, Checkpoints(tmp_path, CONFIG, every_steps=1))
    (weights,) = tmp_path.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    with pytest.raises(ArtifactError, match="has digest"):
        train(logs, Checkpoints(tmp_path, CONFIG, resume=True))


def test_other_parameters_are_refused(logs: Interactions, tmp_path: Path) -> None:
    train(logs, Checkpoints(tmp_path, CONFIG, every_steps=1))
    model = MatrixFactorization.create(12, 10, 4)
    examples = examples_of(logs.part("train"), ["d"])
    checkpoints = Checkpoints(tmp_path, CONFIG, resume=True)
    with pytest.raises(ArtifactError, match=r"transform\.layer\.bias"):
        fit(
            {"d": model}, dict(model.named_parameters()), examples, OPTIONS, dict,
            checkpoints=checkpoints,
        )  # fmt: skip


def test_without_a_checkpoint_training_begins(logs: Interactions, tmp_path: Path) -> None:
    begun = train(logs, Checkpoints(tmp_path / "none", CONFIG, resume=True))[0]
    assert same(begun, train(logs)[0])


def test_a_loss_that_is_no_number_names_step_batch_and_checkpoint(
    logs: Interactions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    loss_of = Objective.__call__

    def broken(self: Objective, model: Any, domain: DomainExamples, *rest: Any) -> Tensor:
        seen.append(domain)
        return loss_of(self, model, domain, *rest) * (torch.nan if len(seen) == 8 else 1.0)

    monkeypatch.setattr(Objective, "__call__", broken)
    checkpoints = Checkpoints(tmp_path, CONFIG, every_steps=3)
    with pytest.raises(DivergedError) as error:
        train(logs, checkpoints)
    text = str(error.value)
    assert "step 8" in text
    assert "digest" in text
    assert f"checkpoint is of step 6, in {tmp_path}" in text
    assert (tmp_path / RECORD).exists()


def test_a_loss_that_explodes_ends_training(
    logs: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    factor = iter([1.0, 1.0, 1e8])
    loss_of = Objective.__call__
    monkeypatch.setattr(Objective, "__call__", lambda *given: loss_of(*given) * next(factor))
    with pytest.raises(DivergedError, match=r"step 3.*like the first"):
        train(logs)


def test_out_of_memory_halves_the_batch_and_says_so(
    logs: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss_of, said, rows = Objective.__call__, list[str](), list[int]()

    def full(self: Objective, model: Any, domain: DomainExamples, batch: Tensor, *a: Any) -> Tensor:
        if len(batch) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return loss_of(self, model, domain, batch, *a)

    monkeypatch.setattr(Objective, "__call__", full)
    model, examples = made(), examples_of(logs.part("train"), ["d"])
    fit(
        {"d": model}, dict(model.named_parameters()), examples, replace(OPTIONS, epochs=1), dict,
        lambda progress: rows.append(progress.rows), say=said.append,
    )  # fmt: skip
    assert sum(rows) == len(examples[0])
    assert max(rows) == 2
    assert ["going on with 4." in said[0], "going on with 2." in said[1], len(said)] == [1, 1, 2]


def test_where_no_row_fits_training_ends(
    logs: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    monkeypatch.setattr(Objective, "__call__", full)
    with pytest.raises(TrainingError, match=r"Not even one row.*Tried to allocate 2 GiB"):
        train(logs)
