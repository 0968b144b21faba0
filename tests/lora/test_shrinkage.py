"""The pull to the base: its law by count, whom it pulls, and that it is nothing at zero."""

from __future__ import annotations

import pytest
import torch

from lorarec.lora.attach import Touched, attach
from lorarec.lora.config import AdapterConfig, full_config, lora_config
from lorarec.lora.shrinkage import row_pulls
from lorarec.models.artefact import Base
from lorarec.models.base import BaseModel

SEEN = {"users": torch.tensor([1, 0, 4, 0, 0, 20, 3, 3]), "items": torch.arange(11)}


def adapted(base: Base, touched: Touched, config: AdapterConfig) -> BaseModel:
    return attach(base.model, config, touched)


@pytest.mark.parametrize(
    ("config", "part"), [(lora_config(2, 4, None, 1.0, 0), "a"), (full_config(0), "d")]
)
def test_a_row_is_pulled_by_the_strength_over_its_count(
    base: Base, touched: Touched, config: AdapterConfig, part: str
) -> None:
    pulls = row_pulls(adapted(base, touched, config), SEEN, 8.0)
    assert set(pulls) == {f"users.{part}", f"items.{part}"}
    assert pulls[f"users.{part}"].tolist() == [8.0, 2.0, 0.4000000059604645]
    assert pulls[f"items.{part}"].tolist() == [8.0, 4.0, 2.0, pytest.approx(8 / 7)]


def test_a_table_that_is_no_target_has_no_pull(base: Base, touched: Touched) -> None:
    config = lora_config(2, 4, "items,bias", 1.0, 0)
    assert set(row_pulls(adapted(base, touched, config), SEEN, 1.0)) == {"items.a"}


def test_without_strength_nothing_is_pulled(base: Base, touched: Touched) -> None:
    assert row_pulls(adapted(base, touched, full_config(0)), SEEN, 0.0) == {}
