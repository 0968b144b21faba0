"""What every model keeps, plain, adapted or merged; the rest of the house relies on no more."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lorarec.data.features.table import FeatureTable, Vectors, bags_of
from lorarec.data.interactions import Interactions
from lorarec.data.vocabulary import Vocabulary
from lorarec.jobs.start import DENSE
from lorarec.lora.attach import (
    Touched,
    adapter_parameters,
    attach,
    deltas,
    linear_layers,
    merged,
)
from lorarec.lora.config import AdapterConfig, full_config, lora_config
from lorarec.lora.towers import largest_ranks
from lorarec.models.base import BaseModel
from lorarec.models.features import FeatureEmbedding
from lorarec.models.importing.factors import Factors
from lorarec.models.importing.scaling import rescaled
from lorarec.models.matrix_factorization import MatrixFactorization, Similarity
from lorarec.models.two_tower import TowerConfig, TwoTower
from lorarec.training.examples import examples_of
from lorarec.training.loop import Options, fit

SIDE, DIM = 16, 16
"""The checkerboard has as many users as items."""


def plain(similarity: Similarity, bias: bool = False) -> MatrixFactorization:
    model = MatrixFactorization.create(SIDE, SIDE, DIM, similarity, 0.15, seed=2)
    if not bias:
        return model
    tables = model.tables()
    values = torch.randn(SIDE, 1, generator=torch.Generator().manual_seed(3)) * 0.1
    return MatrixFactorization.from_tables(
        tables["users"], tables["items"], similarity, 0.15, values
    )


def features(count: int) -> FeatureEmbedding:
    """Of every kind, none of which tells who likes what; the last row has none."""
    draw = np.random.default_rng(5)
    missing = np.arange(count + 1) == count
    rows = np.repeat(np.arange(count), 2)
    table = FeatureTable(
        known=~missing,
        categorical={"keys": np.where(missing, 0, draw.integers(0, 3, count + 1))},
        categories={"a.b": bags_of(rows, draw.integers(0, 4, len(rows)), missing, 4)},
        numeric_names=("n",),
        numeric=draw.normal(size=(count + 1, 1)) * ~missing[:, None],
        numeric_missing=missing[:, None],
        vectors={"v": Vectors(draw.normal(size=(count + 1, 3)) * ~missing[:, None], missing)},
    )
    return FeatureEmbedding(table, {"keys": 3, "a.b": 4}, DIM)


def towers(
    similarity: Similarity = "cosine", size: int = SIDE, described: bool = True, **shape: object
) -> TwoTower:
    """Two towers over the same start; their other weights are moved off it."""
    tables = MatrixFactorization.create(size, size, DIM, similarity, 0.15, seed=2).tables()
    had = (checkerboard().csr()[:size, :size] > 0).astype(np.float32)
    model = TwoTower.from_tables(
        tables["users"],
        tables["items"],
        similarity,
        0.15,
        TowerConfig(**shape),  # type: ignore[arg-type]
        history=had,
        user_features=features(size) if described else None,
        item_features=features(size) if described else None,
        seed=3,
    )
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name not in ("users.weight", "items.weight"):
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)
    return model


DEEP = {"layers": (12, 8), "dropout": 0.1, "history": "attention", "id_dropout": 0.1}


def adapted(
    config: AdapterConfig,
    similarity: Similarity = "cosine",
    base: BaseModel | None = None,
    spread: float = 0.05,
) -> BaseModel:
    """A base of twelve users and items, the others grown, and factors that are not zero."""
    generator = torch.Generator().manual_seed(4)
    if base is None:
        base = MatrixFactorization.create(12, 12, DIM, similarity, 0.15, seed=2)
    base.requires_grad_(False)
    model = attach(
        base,
        config,
        Touched(
            users=torch.arange(0, 12),
            items=torch.arange(0, 12),
            grown_users=torch.randn(4, DIM, generator=generator) * 0.1,
            grown_items=torch.randn(4, DIM, generator=generator) * 0.1,
            bias=torch.arange(SIDE),
        ),
    )
    with torch.no_grad():
        for parameter in adapter_parameters(model).values():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * spread)
    return model


def layered() -> AdapterConfig:
    """All targets that deep towers offer."""
    return lora_config(4, DIM, "*", layers=largest_ranks(towers(**DEEP)))


def imported() -> MatrixFactorization:
    """As implicit's BPR comes in: factors far longer on one side, and a bias."""
    rng = np.random.default_rng(5)
    users, items = (rng.normal(size=(SIDE, DIM)).astype(np.float32) for _ in range(2))
    bias = rng.normal(size=SIDE).astype(np.float32)
    return rescaled(Factors(users * np.float32(0.3), items * np.float32(0.02), "npz", bias), 0.25)


MODELS: dict[str, Callable[[], BaseModel]] = {
    "cosine": lambda: plain("cosine"),
    "dot": lambda: plain("dot"),
    "cosine with bias": lambda: plain("cosine", bias=True),
    "dot with bias": lambda: plain("dot", bias=True),
    "lora": lambda: adapted(lora_config(4, DIM)),
    "lora on dot": lambda: adapted(lora_config(4, DIM), "dot"),
    "row lora": lambda: adapted(lora_config(4, DIM, "users,items")),
    "full": lambda: adapted(full_config()),
    "imported": imported,
    "merged": lambda: merged(adapted(lora_config(4, DIM))),
    "towers": lambda: towers(described=False),
    "towers on dot": lambda: towers("dot", described=False),
    "features": lambda: towers(),
    "history": lambda: towers(history="mean", described=False),
    "own history": lambda: towers(history="mean", history_table="separate", described=False),
    "deep": lambda: towers(**DEEP),
    "deep on dot": lambda: towers("dot", **DEEP),
    "lora on towers": lambda: adapted(lora_config(4, DIM), base=towers(size=12, **DEEP)),
    "full on towers": lambda: adapted(full_config(), base=towers(size=12, **DEEP)),
    "lora on layers": lambda: adapted(layered(), base=towers(size=12, **DEEP)),
    "full on layers": lambda: adapted(
        full_config(layers=tuple(linear_layers(towers(**DEEP)))),
        base=towers(size=12, **DEEP),
        spread=0.02,
    ),
    "merged layers": lambda: merged(adapted(layered(), base=towers(size=12, **DEEP))),
    "merged towers": lambda: merged(adapted(lora_config(4, DIM), base=towers(size=12, **DEEP))),
}
ROWS = torch.tensor([3, 15, 0, 3])


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def model(request: pytest.FixtureRequest) -> BaseModel:
    made: BaseModel = request.param()
    return made


def test_vectors_have_the_model_s_length_and_are_float32(model: BaseModel) -> None:
    for vectors in (model.user_vectors(ROWS), model.item_vectors(ROWS)):
        assert vectors.shape == (4, model.dim)
        assert vectors.dtype == torch.float32


def test_a_bias_is_one_float32_a_row_or_none(model: BaseModel) -> None:
    bias = model.item_bias(ROWS)
    assert bias is None or (bias.shape == (4,) and bias.dtype == torch.float32)


def test_scores_are_one_finite_float32_a_pair(model: BaseModel) -> None:
    scores = model.score(ROWS, ROWS.flip(0))
    assert scores.shape == (4,)
    assert scores.dtype == torch.float32
    assert bool(torch.isfinite(scores).all())


def test_no_rows_give_empty_results(model: BaseModel) -> None:
    none = torch.empty(0, dtype=torch.int64)
    assert model.user_vectors(none).shape == (0, model.dim)
    assert model.item_vectors(none).shape == (0, model.dim)
    assert model.score(none, none).shape == (0,)


def test_a_batch_gives_what_single_rows_give(model: BaseModel) -> None:
    single = [row.unsqueeze(0) for row in ROWS]
    torch.testing.assert_close(
        model.user_vectors(ROWS), torch.cat([model.user_vectors(r) for r in single])
    )
    torch.testing.assert_close(
        model.item_vectors(ROWS), torch.cat([model.item_vectors(r) for r in single])
    )
    torch.testing.assert_close(
        model.score(ROWS, ROWS), torch.cat([model.score(r, r) for r in single])
    )


def test_a_score_is_the_inner_product_plus_the_bias(model: BaseModel) -> None:
    every = torch.arange(SIDE)
    pairs = torch.cartesian_prod(every, every)
    grid = model.user_vectors(every) @ model.item_vectors(every).T
    bias = model.item_bias(every)
    expected = grid if bias is None else grid + bias
    found = model.score(pairs[:, 0], pairs[:, 1]).view(SIDE, SIDE)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_asking_changes_nothing(model: BaseModel) -> None:
    first = model.score(ROWS, ROWS)
    assert torch.equal(model.score(ROWS, ROWS), first)


def test_a_row_past_the_end_is_an_error(model: BaseModel) -> None:
    with pytest.raises(IndexError):
        model.user_vectors(torch.tensor([SIDE]))


def test_replacing_a_module_leaves_the_model_as_it_was(model: BaseModel) -> None:
    before = model.score(ROWS, ROWS)
    other = model.replaced(bias=None, transform=nn.Identity())
    assert other.item_bias(ROWS) is None
    assert torch.equal(model.score(ROWS, ROWS), before)


def test_leaving_out_what_a_user_never_had_changes_nothing(model: BaseModel) -> None:
    plain = model.user_vectors(ROWS)
    other_parity = (ROWS + 1) % SIDE
    torch.testing.assert_close(model.user_vectors(ROWS, without=other_parity), plain)
    torch.testing.assert_close(model.user_vectors(ROWS, without=ROWS * 0 + SIDE + 9), plain)


def test_leaving_out_an_item_is_each_row_s_own_matter(model: BaseModel) -> None:
    out = torch.tensor([5, 1, 4, 7])
    together = model.user_vectors(ROWS, without=out)
    alone = [model.user_vectors(ROWS[n : n + 1], without=out[n : n + 1]) for n in range(4)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_inputs_are_in_the_space_of_the_tables(model: BaseModel) -> None:
    assert model.user_inputs(ROWS).shape == (4, model.dim)
    assert model.item_inputs(ROWS).shape == (4, model.dim)


def test_a_plain_base_tells_all_of_its_numbers_and_an_adapted_one_refuses(
    model: BaseModel,
) -> None:
    if deltas(model):
        with pytest.raises(TypeError, match=r"plain"):
            model.tensors()
        return
    told = sum(tensor.numel() for tensor in model.tensors().values())
    held = sum(t.numel() for t in {id(p): p for p in model.state_dict().values()}.values())
    assert told == held


def test_gradients_reach_every_parameter(model: BaseModel) -> None:
    every = torch.arange(SIDE)
    pairs = torch.cartesian_prod(every, every)
    generator = torch.Generator().manual_seed(8)
    goal = torch.randn(len(pairs), generator=generator)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    (model.score(pairs[:, 0], pairs[:, 1]) * goal).sum().backward()
    still = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not bool(parameter.grad.to_dense().any())
    ]
    assert still == []


def checkerboard() -> Interactions:
    """User u likes the items of its own parity; the pair (u, u) is left out, to be found."""
    pairs = [(u, i) for u in range(SIDE) for i in range(SIDE) if u % 2 == i % 2 and u != i]
    user, item = np.array(pairs, dtype=np.int64).T
    names = Vocabulary([str(n) for n in range(SIDE)])
    zeros = np.zeros(len(pairs), np.int16)
    return Interactions(
        users=names,
        items=names,
        domains=("d",),
        splits=("train",),
        user=user,
        item=item,
        domain_index=zeros,
        weight=np.ones(len(pairs), np.float32),
        timestamp=np.full(len(pairs), -1),
        split_index=zeros,
    )


def scores_of(model: BaseModel) -> Tensor:
    every = torch.arange(SIDE)
    pairs = torch.cartesian_prod(every, every)
    with torch.no_grad():
        return model.score(pairs[:, 0], pairs[:, 1]).view(SIDE, SIDE)


@pytest.mark.parametrize("negatives", [SIDE, 6], ids=["full softmax", "sampled"])
def test_a_checkerboard_is_learnt(model: BaseModel, negatives: int) -> None:
    options = Options(
        epochs=40,
        batch_size=56,
        negatives=negatives,
        learning_rate=0.02,
        rates=dict.fromkeys(DENSE, 0.1),
    )
    parameters = dict(model.named_parameters())
    fit({"d": model}, parameters, examples_of(checkerboard(), ["d"]), options, dict)
    scores = scores_of(model)
    same = torch.arange(SIDE).unsqueeze(1) % 2 == torch.arange(SIDE) % 2
    unseen_but_right = scores.diagonal()
    best_wrong = scores.masked_fill(same, -torch.inf).max(1).values
    # By chance one in nine would; a user or two may fall into a corner of their own.
    assert int((unseen_but_right > best_wrong).sum()) >= SIDE - 2
