"""Shrinkage from the setting to the rows that a search leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from world import World

from lorarec.jobs import adapt as job
from lorarec.jobs import search as searching
from lorarec.jobs.domain import domain_data


@pytest.mark.parametrize(("kind", "part"), [("lora", "a"), ("full", "d")])
def test_shrinkage_keeps_rows_near_the_base_the_nearer_the_fewer_they_have(
    world: World, kind: str, part: str
) -> None:
    base = world.load(world.base)
    frame, _ = base.info.data.read_again(base.info.split, domain="movies")
    data = domain_data(base, frame, "movies")

    def moved(shrinkage: float) -> tuple[torch.Tensor, torch.Tensor]:
        options = {"adapt.shrinkage": shrinkage, "adapt.learning_rate_grid": [1.0]}
        settings = world.settings.with_options(options)
        config = job.full_shape(settings, base) if kind == "full" else job.shape(settings, base)
        # Without validation rows the last epoch is kept, however it ranks.
        unmeasured = replace(data, valid=data.valid.where(np.zeros(len(data.valid), bool)))
        model = searching.search(settings, config, base, unmeasured, "cpu").model
        rows: Any = model.users
        counts = torch.from_numpy(np.bincount(data.train.user))[rows.rows]
        return getattr(rows, part).norm(dim=1), counts

    (free, counts), (held, _) = moved(0.0), moved(20.0)
    left = held / free
    assert float(left.mean()) < 0.8
    few, many = counts <= counts.median(), counts > counts.median()
    assert float(left[few].mean()) < float(left[many].mean())
