from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from lorarec.data.interactions import Interactions
from lorarec.errors import TrainingError
from lorarec.lora.attach import Touched, adapter_parameters, attach
from lorarec.lora.config import AdapterConfig, full_config, lora_config
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.training.examples import DomainExamples, examples_of
from lorarec.training.loop import Options, Progress, fit
from lorarec.training.losses import full_softmax
from lorarec.training.objective import Objective
from lorarec.training.validation import RankingValidation

Indexed = Callable[..., Interactions]
OPTIONS = Options(epochs=4, batch_size=16, negatives=100, learning_rate=0.05)


@pytest.fixture
def logs(indexed: Indexed) -> Interactions:
    """Users and items of two tastes, in two domains, with one pair of each user held out."""
    rows = []
    for user in range(12):
        liked = [item for item in range(10) if item % 2 == user % 2]
        held = liked[user % 5]
        rows += [f"{user} {item} d {'valid' if item == held else 'train'}" for item in liked]
        rows += [f"{user} {10 + user % 2} e train"]
    return indexed(rows, 12, 12, ("d", "e"))


@pytest.fixture
def examples(logs: Interactions) -> list[DomainExamples]:
    return examples_of(logs.part("train"), ["d"])


def parameters_of(model: MatrixFactorization) -> dict[str, nn.Parameter]:
    return dict(model.named_parameters())


def made() -> MatrixFactorization:
    return MatrixFactorization.create(12, 12, 4, seed=1)


def scripted(values: list[float]) -> Callable[[], Mapping[str, float]]:
    """A validation that gives these numbers one after the other."""
    found: Iterator[float] = iter(values)
    return lambda: {"valid_ndcg": next(found)}


def test_training_lowers_the_loss(examples: list[DomainExamples]) -> None:
    model = made()
    history = fit({"d": model}, parameters_of(model), examples, OPTIONS, dict)
    losses = [epoch["train_loss"] for epoch in history.epochs[1:]]
    assert losses[-1] < losses[0]


def test_training_raises_validation(logs: Interactions, examples: list[DomainExamples]) -> None:
    model = made()
    check = RankingValidation(logs.part("train"), logs.part("valid"), ["d"])
    before = check({"d": model})["valid_ndcg"]
    fit(
        {"d": model},
        parameters_of(model),
        examples,
        replace(OPTIONS, epochs=30, patience=30),
        lambda: check({"d": model}),
    )
    assert check({"d": model})["valid_ndcg"] > before + 0.1


@pytest.mark.parametrize("negatives", [100, 3], ids=["full softmax", "sampled"])
def test_the_same_seed_gives_the_same_result(
    examples: list[DomainExamples], negatives: int
) -> None:
    def run(seed: int) -> Tensor:
        model = made()
        options = replace(OPTIONS, negatives=negatives, seed=seed)
        fit({"d": model}, parameters_of(model), examples, options, dict)
        return model.tables()["users"]

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_the_global_random_state_does_not_matter(examples: list[DomainExamples]) -> None:
    def run() -> Tensor:
        model = made()
        fit({"d": model}, parameters_of(model), examples, replace(OPTIONS, negatives=3), dict)
        return model.tables()["users"]

    torch.manual_seed(1)
    first = run()
    torch.manual_seed(2)
    assert torch.equal(run(), first)


class Dropping(nn.Dropout):
    """Remembers whether it dropped anything of what it was given."""

    def __init__(self) -> None:
        super().__init__(0.5)
        self.dropped: list[bool] = []

    def forward(self, vectors: Tensor) -> Tensor:
        found: Tensor = super().forward(vectors)
        self.dropped.append(not torch.equal(found, vectors))
        return found


def test_dropout_is_on_in_training_and_off_where_the_model_is_asked(
    logs: Interactions, examples: list[DomainExamples]
) -> None:
    layer = Dropping()
    model = made().replaced(transform=layer)
    check = RankingValidation(logs.part("train"), logs.part("valid"), ["d"])
    trained, validated = [], []

    def validate() -> Mapping[str, float]:
        trained.append(layer.dropped[:])
        layer.dropped.clear()
        found = check({"d": model})
        validated.append(layer.dropped[:])
        layer.dropped.clear()
        return found

    before = torch.get_rng_state()
    fit({"d": model}, parameters_of(model), examples, OPTIONS, validate)
    assert torch.equal(torch.get_rng_state(), before)
    assert [all(epoch) and bool(epoch) for epoch in trained] == [False, True, True, True, True]
    assert not any(map(any, validated))
    assert not model.training


def test_broken_off_no_model_is_left_dropping(examples: list[DomainExamples]) -> None:
    model = made().replaced(transform=nn.Dropout(0.5))

    def broken(progress: Progress) -> None:
        if progress.rows:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit({"d": model}, parameters_of(model), examples, OPTIONS, dict, broken)
    assert not model.transform.training


def test_a_parameter_moves_by_its_own_share_of_the_step(examples: list[DomainExamples]) -> None:
    moved = []
    for rate in (1.0, 0.1):
        model = made()
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        options = replace(OPTIONS, epochs=1, batch_size=10_000, rates={"items": rate})
        fit({"d": model}, parameters_of(model), examples, options, dict)
        moved.append({n: (p - before[n]).abs().max().item() for n, p in model.named_parameters()})
    assert moved[1]["users.weight"] == moved[0]["users.weight"]
    assert moved[1]["items.weight"] == pytest.approx(0.1 * moved[0]["items.weight"], rel=1e-3)


def test_only_the_named_parameters_move(examples: list[DomainExamples]) -> None:
    model = made()
    items = model.tables()["items"].clone()
    users = model.tables()["users"].clone()
    fit({"d": model}, {"users": parameters_of(model)["users.weight"]}, examples, OPTIONS, dict)
    assert torch.equal(model.tables()["items"], items)
    assert not torch.equal(model.tables()["users"], users)


def test_rows_of_other_domains_stay_as_they_are(logs: Interactions) -> None:
    model = made()
    before = model.tables()["items"].clone()
    examples = examples_of(logs.part("train"), ["d"])
    fit({"d": model}, parameters_of(model), examples, replace(OPTIONS, negatives=3), dict)
    assert torch.equal(model.tables()["items"][10:], before[10:])


def test_every_row_is_trained_on_once_an_epoch(logs: Interactions) -> None:
    model, reports = made(), list[Progress]()
    examples = examples_of(logs.part("train"), ["d", "e"])
    fit(
        {"d": model, "e": model},
        parameters_of(model),
        examples,
        replace(OPTIONS, epochs=2),
        dict,
        reports.append,
    )
    for epoch in (1, 2):
        assert sum(r.rows for r in reports if r.epoch == epoch) == len(logs.part("train"))


def test_a_report_ends_each_epoch_with_its_metrics(examples: list[DomainExamples]) -> None:
    model, reports = made(), list[Progress]()
    validate = scripted([0.1, 0.2, 0.3])
    options = replace(OPTIONS, epochs=2)
    fit({"d": model}, parameters_of(model), examples, options, validate, reports.append)
    ends = [r.metrics for r in reports if r.metrics is not None]
    assert [m["valid_ndcg"] for m in ends] == [0.1, 0.2, 0.3]


def test_the_best_epoch_is_kept(examples: list[DomainExamples]) -> None:
    model, seen = made(), list[Tensor]()
    values = iter([0.1, 0.3, 0.5, 0.2, 0.4])

    def validate() -> Mapping[str, float]:
        seen.append(model.tables()["users"].clone())
        return {"valid_ndcg": next(values)}

    history = fit({"d": model}, parameters_of(model), examples, OPTIONS, validate)
    assert (history.best_epoch, history.best) == (2, 0.5)
    assert torch.equal(model.tables()["users"], seen[2])
    assert not torch.equal(seen[2], seen[4])


def test_training_that_never_helps_leaves_the_untrained_model(
    examples: list[DomainExamples],
) -> None:
    model = made()
    before = {name: table.clone() for name, table in model.tables().items()}
    validate = scripted([0.5, 0.5, 0.4, 0.3, 0.2])
    history = fit({"d": model}, parameters_of(model), examples, OPTIONS, validate)
    assert history.best_epoch == 0
    assert all(torch.equal(model.tables()[name], table) for name, table in before.items())


def test_the_result_is_never_worse_than_untrained_on_validation(
    logs: Interactions, examples: list[DomainExamples]
) -> None:
    check = RankingValidation(logs.part("train"), logs.part("valid"), ["d"])
    for rate in (0.001, 0.1, 3.0):
        model = made()
        before = check({"d": model})["valid_ndcg"]
        options = replace(OPTIONS, learning_rate=rate)
        history = fit(
            {"d": model}, parameters_of(model), examples, options, lambda m=model: check({"d": m})
        )
        after = check({"d": model})["valid_ndcg"]
        assert after >= before
        assert after == history.best


def test_patience_ends_training_early(examples: list[DomainExamples]) -> None:
    model = made()
    options = replace(OPTIONS, epochs=50, patience=2)
    validate = scripted([0.1, 0.2, 0.1, 0.3, 0.2, 0.1, 0.9])
    history = fit({"d": model}, parameters_of(model), examples, options, validate)
    assert len(history.epochs) == 6
    assert history.best_epoch == 3


def test_without_validation_the_last_epoch_is_kept(examples: list[DomainExamples]) -> None:
    model = made()
    history = fit({"d": model}, parameters_of(model), examples, OPTIONS, dict)
    assert history.best_epoch == 4


def test_a_loss_that_is_no_number_ends_training_with_advice(
    examples: list[DomainExamples],
) -> None:
    model = made()
    with torch.no_grad():
        model.tables()["users"].fill_(torch.nan)
    options = replace(OPTIONS, lower="--set train.learning_rate=0.005")
    with pytest.raises(TrainingError, match=r"nan in epoch 1 .* 0\.05\. .* try --set train\.lea"):
        fit({"d": model}, parameters_of(model), examples, options, dict)


def test_a_last_step_that_breaks_the_model_ends_training(examples: list[DomainExamples]) -> None:
    model = made()
    parameters = parameters_of(model)
    # One step an epoch and one epoch: no later loss tells of the infinite step.
    options = replace(OPTIONS, epochs=1, batch_size=1000, learning_rate=math.inf)
    with pytest.raises(TrainingError, match="not finite after training"):
        fit({"d": model}, parameters, examples, options, dict)


def test_nothing_to_train_is_refused(examples: list[DomainExamples]) -> None:
    with pytest.raises(TrainingError, match="no parameter to train"):
        fit({"d": made()}, {}, examples, OPTIONS, dict)


def test_batches_of_weight_zero_do_not_end_training(indexed: Indexed) -> None:
    rows = ["0 0 d train 0", "1 1 d train 0", "2 2 d train 0", "3 3 d train 2"]
    examples = examples_of(indexed(rows, 12, 12), ["d"])
    model = made()
    fit({"d": model}, parameters_of(model), examples, replace(OPTIONS, batch_size=1), dict)
    assert bool(torch.isfinite(model.tables()["users"]).all())


def test_a_small_catalogue_is_taken_whole(examples: list[DomainExamples]) -> None:
    model, (domain,) = made(), examples
    batch = torch.tensor([0, 5, 7])
    found = Objective(len(domain.sampler))(model, domain, batch, torch.Generator())
    logits = model.user_vectors(domain.users[batch]) @ model.item_vectors(domain.sampler.items).T
    expected = full_softmax(logits, domain.sampler.places(domain.items[batch]))
    assert float(found.detach()) == pytest.approx(float(expected.detach()))


def test_the_sampled_loss_is_that_of_the_whole_catalogue_on_average(
    examples: list[DomainExamples],
) -> None:
    (domain,) = examples
    model = made()
    model.temperature = 1.0
    batch, generator = torch.arange(len(domain)), torch.Generator().manual_seed(0)
    whole = float(Objective(10)(model, domain, batch, generator).detach())
    # Nine draws of ten items, many times: the log makes the mean a little small.
    drawn = [float(Objective(9)(model, domain, batch, generator).detach()) for _ in range(400)]
    assert sum(drawn) / 400 == pytest.approx(whole, abs=0.06)


def test_the_bias_takes_part_in_both_losses(examples: list[DomainExamples]) -> None:
    (domain,) = examples
    bias = torch.zeros(12, 1)
    bias[int(domain.items[0])] = 50.0
    tables = made().tables()
    model = MatrixFactorization.from_tables(tables["users"], tables["items"], "cosine", 0.15, bias)
    for negatives in (100, 5):
        loss = Objective(negatives)(model, domain, torch.tensor([0]), torch.Generator())
        assert float(loss.detach()) < 1e-6


@pytest.mark.parametrize("config", [lora_config(2, 4), full_config()], ids=["lora", "full"])
def test_an_adapter_trains_and_the_base_keeps_every_bit(
    examples: list[DomainExamples], config: AdapterConfig
) -> None:
    base = made().requires_grad_(False)
    before = {name: table.clone() for name, table in base.tables().items()}
    none = torch.empty(0, 4)
    touched = Touched(torch.arange(12), torch.arange(10), none, none, torch.arange(10))
    model = attach(base, config, touched)
    history = fit({"d": model}, adapter_parameters(model), examples, OPTIONS, dict)
    assert history.epochs[-1]["train_loss"] < history.epochs[1]["train_loss"]
    assert all(torch.equal(base.tables()[name], table) for name, table in before.items())
    assert not torch.equal(
        model.user_vectors(torch.arange(12)), base.user_vectors(torch.arange(12))
    )
