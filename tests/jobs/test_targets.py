"""What a base offers to an adapter, and adapters of towers' layers from training to disk."""

from __future__ import annotations

import pytest
import torch
from world import World

from lorarec.errors import ConfigError, NotFoundError
from lorarec.jobs.adapt import adapt
from lorarec.jobs.evaluate import evaluate
from lorarec.jobs.pretrain import Pretrained, pretrain
from lorarec.jobs.targets import Offered, targets
from lorarec.lora.adapter import load_adapter
from lorarec.lora.attach import adapter_parameters
from lorarec.tracking.registry import resolve

TOWERS = {"model.name": "two-tower", "model.layers": [8], "model.history": "mean"}


def towers_of(world: World) -> Pretrained:
    return pretrain(world.settings.with_options(TOWERS), [world.logs], world.store)


def costs(found: Offered) -> dict[str, tuple[int, int]]:
    return {offer.name: (offer.numbers, offer.full) for offer in found.offers}


def test_what_is_told_of_each_target_is_what_its_adapter_trains(world: World) -> None:
    base = towers_of(world)
    found = targets(world.store, 2, base.run, "books")
    names = ",".join(offer.name for offer in found.offers)
    settings = world.settings.with_options({"adapt.targets": names, "adapt.rank": 2})
    done = adapt(settings, "books", world.store, base.run)
    trained: dict[str, int] = dict.fromkeys(costs(found), 0)
    for name, parameter in adapter_parameters(done.adapter.model).items():
        target, part = name.rsplit(".", 1)
        trained[target] += parameter.numel() if part != "grown" else 0
    assert trained == {name: numbers for name, (numbers, _) in costs(found).items()}
    assert sum(full for _, full in costs(found).values()) == done.size.full - done.size.grown


def test_a_matrix_factorization_has_four_targets_and_a_wide_rank_is_cut(world: World) -> None:
    found = targets(world.store, 64, world.base)
    dim = found.base.model.dim
    assert list(costs(found)) == ["users", "items", "transform", "bias"]
    assert {offer.rank for offer in found.offers} == {dim, None}
    assert costs(found)["bias"] == (found.base.info.items, found.base.info.items)
    assert costs(found)["transform"] == (2 * dim * dim, 0)


def test_a_rank_or_a_domain_that_cannot_be_is_refused(world: World) -> None:
    with pytest.raises(ConfigError, match="Rank 0 is out of range"):
        targets(world.store, 0, world.base)
    with pytest.raises(NotFoundError, match="books"):
        targets(world.store, 8, world.base, "book")


def test_an_adapter_of_layers_comes_back_from_disk_and_beside_full_fine_tuning(
    world: World,
) -> None:
    base = towers_of(world)
    shape = {"adapt.targets": "*_tower.layers.*:2,transform,bias"}
    settings = world.settings.with_options(shape)
    done = adapt(settings, "books", world.store, base.run)
    again = load_adapter(resolve(world.store, done.run, "adapter")[0], base.base)
    rows = torch.arange(5)
    for ours, theirs in zip(
        (done.adapter.model.user_vectors(rows), done.adapter.model.item_vectors(rows)),
        (again.model.user_vectors(rows), again.model.item_vectors(rows)),
        strict=True,
    ):
        assert torch.equal(ours, theirs)
    assert again.info.config.ranks["item_tower.layers.0"] == 2
    options = settings.with_options({"evaluate.arms": ["base", "lora", "full"]})
    found = evaluate(options, "books", world.store, base.run, done.run)
    assert set(found.results) == {"base", "lora", "full"}
