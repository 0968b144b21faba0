from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from lorarec.lora.layers import DomainBias, FullRows, LoRAEmbedding, LoRATransform
from lorarec.models.base import ItemBias
from lorarec.training.hybrid import HybridOptimizer

TOUCHED = torch.tensor([1, 4, 6])
NONE = torch.empty(0, dtype=torch.int64)


def table(rows: int = 8, dim: int = 4) -> nn.Embedding:
    values = torch.randn(rows, dim, generator=torch.Generator().manual_seed(1))
    return nn.Embedding.from_pretrained(values, freeze=False, sparse=True)


def lora(
    base: nn.Embedding, rows: Tensor = TOUCHED, rank: int = 2, alpha: float = 1.0, grown: int = 0
) -> LoRAEmbedding:
    generator = torch.Generator().manual_seed(2)
    vectors = torch.randn(grown, base.embedding_dim, generator=generator)
    return LoRAEmbedding(base, rows, vectors, rank, alpha, generator)


def set_randomly(*parameters: nn.Parameter) -> None:
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(torch.randn(parameter.shape, generator=generator))


def test_row_lora_has_exactly_one_zero_factor() -> None:
    module = lora(table())
    assert not module.a.any()
    assert module.b.all()


def test_transform_lora_has_exactly_one_zero_factor() -> None:
    module = LoRATransform(4, 2, 1.0, torch.Generator().manual_seed(0))
    assert not module.p.any()
    assert module.q.all()


@pytest.mark.parametrize("rank", [1, 2, 4, 9])
@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_the_scale_is_alpha_over_root_rank(rank: int, alpha: float) -> None:
    generator = torch.Generator().manual_seed(0)
    scales = lora(table(), rank=rank, alpha=alpha).scale, LoRATransform(4, rank, alpha, generator)
    assert scales[0] == alpha / math.sqrt(rank)
    assert scales[1].scale == alpha / math.sqrt(rank)


def test_row_lora_keeps_one_row_of_a_for_each_touched_row_alone() -> None:
    module = lora(table(1000), torch.tensor([5, 700]), rank=3)
    assert module.a.shape == (2, 3)
    assert sum(p.numel() for p in module.parameters()) == 2 * 3 + 3 * 4


def test_row_lora_adds_its_product_to_touched_rows() -> None:
    base = table()
    module = lora(base)
    set_randomly(module.a, module.b)
    expected = base.weight.detach().clone()
    for slot, row in enumerate(TOUCHED.tolist()):
        expected[row] += (module.a[slot] @ module.b).detach() / math.sqrt(2)
    torch.testing.assert_close(module(torch.arange(8)), expected)


def test_row_lora_leaves_other_rows_to_the_bit() -> None:
    base = table()
    module = lora(base)
    set_randomly(module.a, module.b)
    others = torch.tensor([0, 2, 3, 5, 7])
    assert torch.equal(module(others), base.weight[others])


def test_full_rows_add_their_own_delta() -> None:
    base = table()
    module = FullRows(base, TOUCHED, torch.empty(0, 4))
    set_randomly(module.d)
    assert torch.equal(module(TOUCHED), base.weight[TOUCHED] + module.d)
    assert torch.equal(module(torch.tensor([0, 7])), base.weight[[0, 7]])


def test_full_rows_start_at_zero() -> None:
    base = table()
    module = FullRows(base, TOUCHED, torch.empty(0, 4))
    assert torch.equal(module(torch.arange(8)), base.weight)


def test_grown_rows_lie_behind_the_table() -> None:
    module = lora(table(), grown=2)
    assert len(module) == 10
    assert torch.equal(module(torch.tensor([9, 0, 8])).detach()[[0, 2]], module.grown[[1, 0]])


def test_a_grown_row_is_not_moved_by_the_delta_of_the_last_row() -> None:
    base = table()
    module = lora(base, rows=torch.tensor([7]), grown=2)
    set_randomly(module.a, module.b)
    assert torch.equal(module(torch.tensor([8, 9])), module.grown)


def test_an_adapter_without_touched_rows_is_the_table() -> None:
    base = table()
    module = lora(base, rows=NONE, grown=1)
    assert torch.equal(module(torch.arange(8)), base.weight)


def test_the_frozen_table_is_no_parameter_of_the_adapter() -> None:
    base = table()
    module = lora(base)
    assert base.weight.data_ptr() not in {p.data_ptr() for p in module.parameters()}
    assert not any(name.startswith("base") for name in module.state_dict())


def test_the_frozen_table_gets_no_gradient() -> None:
    base = table()
    lora(base)(torch.arange(8)).sum().backward()
    assert base.weight.grad is None


def test_the_gradient_of_a_has_the_batch_s_rows_alone() -> None:
    module = lora(table())
    module(torch.tensor([6, 6, 0, 1])).sum().backward()
    assert module.a.grad is not None
    assert module.a.grad.is_sparse
    assert module.a.grad.coalesce().indices().tolist() == [[0, 2]]


def test_the_gradient_of_grown_rows_has_the_batch_s_rows_alone() -> None:
    module = lora(table(), grown=3)
    module(torch.tensor([10, 2])).sum().backward()
    assert module.grown.grad is not None
    assert module.grown.grad.coalesce().indices().tolist() == [[2]]


def test_a_disabled_table_gives_the_base_s_rows() -> None:
    base = table()
    module = lora(base, grown=1)
    set_randomly(module.a, module.b)
    module.enabled = False
    assert torch.equal(module(torch.arange(8)), base.weight)


def test_the_transform_adds_its_product_to_every_vector() -> None:
    module = LoRATransform(4, 2, 3.0, torch.Generator().manual_seed(0))
    set_randomly(module.p, module.q)
    vectors = torch.randn(5, 4, generator=torch.Generator().manual_seed(5))
    expected = vectors @ (torch.eye(4) + 3.0 / math.sqrt(2) * module.p @ module.q)
    torch.testing.assert_close(module(vectors), expected)


def test_the_transform_s_size_is_that_of_its_two_factors() -> None:
    module = LoRATransform(64, 8, 1.0, torch.Generator().manual_seed(0))
    assert sum(p.numel() for p in module.parameters()) == 1024


def bias(base: bool = True) -> tuple[Tensor, DomainBias]:
    """A bias on items 1, 4 and the grown item 8, over a table of eight."""
    values = torch.arange(8.0).unsqueeze(1)
    module = DomainBias(ItemBias(values) if base else None, torch.tensor([1, 4, 8]))
    with torch.no_grad():
        module.b.copy_(torch.tensor([[10.0], [20.0], [40.0]]))
    return values, module


def test_the_domain_s_bias_is_added_to_the_base_s() -> None:
    _, module = bias()
    assert module(torch.tensor([4, 1])).tolist() == [24.0, 11.0]


def test_a_grown_item_has_the_domain_s_bias_alone() -> None:
    _, module = bias()
    assert module(torch.tensor([8])).tolist() == [40.0]


def test_a_base_without_bias_counts_as_zero() -> None:
    _, module = bias(base=False)
    assert module(torch.tensor([1, 2])).tolist() == [10.0, 0.0]


def test_items_of_other_domains_get_the_cold_bias() -> None:
    _, module = bias()
    module.set_cold(torch.tensor([1, 8]))
    assert module(torch.tensor([2, 4])).tolist() == [2.0 + 25.0, 24.0]


def test_the_cold_bias_is_stored_and_not_trained() -> None:
    _, module = bias()
    assert [name for name, _ in module.named_parameters()] == ["b"]
    assert "cold" in module.state_dict()


def test_a_disabled_bias_is_the_base_s() -> None:
    values, module = bias()
    module.set_cold(torch.tensor([1]))
    module.enabled = False
    assert torch.equal(module(torch.arange(8)), values.squeeze(1))


def first_step(module: LoRAEmbedding | FullRows, pull: Tensor) -> Tensor:
    """How far a first step of Adam moves each row under the gradient `pull` (n, d)."""
    rows = torch.arange(len(pull))
    before = module(rows).detach()
    (module(rows) * pull).sum().backward()
    HybridOptimizer(dict(module.named_parameters()), lr=0.01).step()
    return (module(rows).detach() - before).norm(dim=-1)


@pytest.mark.parametrize("rank", [1, 2, 4, 8, 16, 32, 64])
def test_the_first_step_moves_a_row_about_as_far_at_every_rank(rank: int) -> None:
    base = table(400, 64)
    rows = torch.arange(400)
    pull = torch.randn(400, 64, generator=torch.Generator().manual_seed(9))
    full = first_step(FullRows(base, rows, torch.empty(0, 64)), pull).mean()
    low = torch.stack(
        [
            first_step(
                LoRAEmbedding(
                    base, rows, torch.empty(0, 64), rank, 1.0, torch.Generator().manual_seed(seed)
                ),
                pull,
            ).mean()
            for seed in range(5)
        ]
    ).mean()
    assert 0.9 < float(low / full) < 1.4


def test_a_bias_without_rows_is_the_base_s_and_zero_for_grown_items() -> None:
    values = torch.arange(8.0).unsqueeze(1)
    module = DomainBias(ItemBias(values), NONE)
    module.set_cold(torch.tensor([1]))
    assert module(torch.tensor([3, 9])).tolist() == [3.0, 0.0]


def test_a_grown_row_gives_the_last_touched_row_no_gradient() -> None:
    module = lora(table(), rows=torch.tensor([7]), grown=1)
    module(torch.tensor([8])).sum().backward()
    assert module.a.grad is not None
    assert module.a.grad.coalesce().indices().numel() == 0
