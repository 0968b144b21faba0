"""The pull to the base: its law by count, whom it pulls, and that it is nothing at zero."""

from __future__ import annotations

import numpy as np
import pytest

from lorarec.lora.attach import Touched, attach
from lorarec.lora.config import AdapterConfig, full_config, lora_config
from lorarec.lora.shrinkage import row_pulls
from lorarec.models.artefact import Base
from lorarec.models.base import BaseModel

SEEN = {
    "users": np.repeat([7, 5, 2, 0, 6], [3, 20, 4, 1, 3]),
    "items": np.repeat(np.arange(11), np.arange(11)),
}
"""Rows in any order, each as often as it has train rows: item 4 four times."""


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
    assert pulls[f"users.{part}"].tolist() == pytest.approx([8.0, 2.0, 0.4])
    assert pulls[f"items.{part}"].tolist() == pytest.approx([8.0, 4.0, 2.0, 8 / 7])


def test_a_table_that_is_no_target_has_no_pull(base: Base, touched: Touched) -> None:
    config = lora_config(2, 4, "items,bias", 1.0, 0)
    assert set(row_pulls(adapted(base, touched, config), SEEN, 1.0)) == {"items.a"}


def test_without_strength_nothing_is_pulled(base: Base, touched: Touched) -> None:
    assert row_pulls(adapted(base, touched, full_config(0)), SEEN, 0.0) == {}
