"""One index for all domains against the scores of the adapted models, one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_adapters import adapters, as_towers
from world import World

from lorarec.errors import AdapterMismatchError
from lorarec.jobs.augment import augmented_index, domain_factors
from lorarec.jobs.recommend import prepare
from lorarec.lora.adapter import Adapter
from lorarec.models.artefact import Base

Make = Callable[..., Any]


def brute(adapter: Adapter | Base, catalogue: pl.Series, k: int) -> tuple[Any, Any]:
    """All users' best items by `score`, one pair at a time."""
    users, rows = len(adapter.users), adapter.items.rows(catalogue)
    with torch.no_grad():
        scores = torch.stack(
            [
                adapter.model.score(torch.full((len(rows),), user), torch.from_numpy(rows))
                for user in range(users)
            ]
        ).numpy()
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(scores, order, axis=1)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    builds=st.lists(adapters(), min_size=1, max_size=3),
    similarity=st.sampled_from(["cosine", "dot"]),
    bias=st.booleans(),
)
def test_every_domain_ranks_as_its_adapted_model(
    base_maker: Make, builds: list[Make], similarity: str, bias: bool
) -> None:
    base = base_maker(similarity, bias)
    index = augmented_index(base)
    domains = {f"d{number}": build(base) for number, build in enumerate(builds)}
    domains["bare"] = base
    for name, adapter in domains.items():
        own = None if adapter is base else adapter
        index.put(name, domain_factors(base, own, adapter.items.series))
    for name, adapter in domains.items():  # after all were put: none disturbs another
        catalogue = adapter.items.series
        k = len(catalogue)
        _, expected = brute(adapter, catalogue, k)
        with torch.no_grad():
            users = adapter.model.user_vectors(torch.arange(len(adapter.users))).numpy()
        _, found = index.domain(name).search(users, k)
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)


def test_real_adapters_rank_as_a_merged_index_and_take_less(world: World) -> None:
    from lorarec.retrieval.index import ExactIndex

    base = world.load(world.base)
    index = augmented_index(base)
    for domain in ("movies", "games"):
        world.adapt(domain, {"adapt.rank": 1, "adapt.targets": "users,items,transform,bias"})
    for domain in ("books", "movies", "games"):
        ready = prepare(domain, world.store)
        catalogue = ready.arena.catalogue.series
        own = index.put(domain, domain_factors(ready.base, ready.adapter, catalogue))
        vectors, _ = ready.scorer.user_vectors(ready.arena.members)
        rows, scores = own.search(vectors, 10)
        merged_rows, merged_scores = ExactIndex.over(own.merged()).search(vectors, 10)
        model_rows, model_scores = ready.arena.index(ready.scorer).search(vectors, 10)
        np.testing.assert_allclose(scores, merged_scores, atol=1e-5)
        np.testing.assert_allclose(scores, model_scores, atol=1e-5)
        assert (rows == merged_rows).mean() > 0.99
        assert (rows == model_rows).mean() > 0.99


def test_towers_are_refused_with_what_to_do(base_maker: Make) -> None:
    with pytest.raises(AdapterMismatchError, match="index for each domain"):
        augmented_index(as_towers(base_maker("dot")))
