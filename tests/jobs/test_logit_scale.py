"""How an imported model's scores are scaled: the likeliest power of two, and a trial's domain."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from world import World

from lorarec.data.splits import apply_split
from lorarec.jobs import logit_scale
from lorarec.jobs.domain import train_and_valid
from lorarec.jobs.logit_scale import likeliest, trial_domain
from lorarec.models.artefact import Base
from lorarec.models.importing.factors import Factors
from lorarec.models.importing.scaling import rescaled


def of_scale(base: Base, scale: float) -> Base:
    """The world's base by its scores times a number, as a foreign model would have them."""
    tables = {name: table.numpy() for name, table in base.model.tables().items()}
    unit = {
        n: t / np.linalg.norm(t, axis=1, keepdims=True) for n, t in tables.items() if n != "bias"
    }
    bias = tables["bias"][:, 0] * base.model.temperature
    return Base(
        rescaled(Factors(unit["users"], unit["items"], "npz", bias), scale),
        base.users,
        base.items,
        base.info,
    )


def test_the_likeliest_scale_undoes_a_factor(world: World) -> None:
    base = world.load(world.base)
    frame = apply_split(base.info.data.read()[0], base.info.split)
    train, _ = train_and_valid(frame, base.users, base.items)
    found = {power: likeliest(of_scale(base, 2.0**power), train) for power in (-6, 0, 5)}
    assert {power: math.log2(one.scale) + power for power, one in found.items()} == dict.fromkeys(
        found, math.log2(found[0].scale)
    )
    assert 1 <= found[0].scale <= 2**5
    assert len({round(one.gain, 4) for one in found.values()}) == 1


def logs(sizes: dict[str, tuple[int, int]]) -> pl.DataFrame:
    rows = [
        {"domain": name, "split": part}
        for name, counts in sizes.items()
        for part, count in zip(("train", "valid"), counts, strict=True)
        for _ in range(count)
    ]
    return pl.DataFrame(rows)


def test_a_trial_is_on_the_median_domain_that_can_be_validated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logit_scale, "TRIAL_ROWS", 6)
    assert trial_domain(logs({"a": (1, 1), "b": (3, 1), "c": (5, 1), "d": (9, 1)})) == "b"
    assert trial_domain(logs({"a": (1, 1), "b": (3, 0), "c": (5, 1)})) == "c"
    assert trial_domain(logs({"d": (9, 1), "e": (8, 1)})) == "e"
    assert trial_domain(logs({"a": (4, 0)})) is None
