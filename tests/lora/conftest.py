"""An adapter for the small base of `base_maker`, and a few steps of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import made

from lorarec.lora.adapter import Adapter, save_adapter
from lorarec.lora.attach import Touched, adapter_parameters, attach
from lorarec.lora.config import lora_config
from lorarec.models.artefact import Base
from lorarec.models.base import BaseModel
from lorarec.training.hybrid import HybridOptimizer

Pairs = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture
def touched() -> Touched:
    """Some of six users and eight items, with two grown users and three grown items."""
    generator = torch.Generator().manual_seed(3)
    return Touched(
        users=torch.tensor([0, 2, 5]),
        items=torch.tensor([1, 2, 4, 7]),
        grown_users=torch.randn(2, 4, generator=generator),
        grown_items=torch.randn(3, 4, generator=generator),
        bias=torch.tensor([1, 2, 4, 7, 8, 9, 10]),
    )


@pytest.fixture
def known_pairs() -> Pairs:
    """Every pair of a user and an item that the base knows."""
    pairs = torch.cartesian_prod(torch.arange(6), torch.arange(8))
    return pairs[:, 0], pairs[:, 1]


@pytest.fixture
def all_pairs() -> Pairs:
    """Every pair, grown users and items included."""
    pairs = torch.cartesian_prod(torch.arange(8), torch.arange(11))
    return pairs[:, 0], pairs[:, 1]


@pytest.fixture
def train_a_bit() -> Callable[[BaseModel], BaseModel]:
    """Train the adapter's parameters for ten steps on pairs of its own domain."""
    return _train_a_bit


def _train_a_bit(model: BaseModel) -> BaseModel:
    torch.manual_seed(0)
    parameters = adapter_parameters(model)
    optimizer = HybridOptimizer(parameters, lr=0.05)
    own_users = torch.tensor([0, 2, 5, 6, 7])
    own_items = torch.tensor([1, 2, 4, 7, 8, 9, 10])
    for _ in range(10):
        rows = own_users[torch.randint(5, (12,))], own_items[torch.randint(7, (12,))]
        loss = (model.score(*rows) * torch.randn(12)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def base(base_maker: Callable[..., Any]) -> Base:
    found: Base = base_maker()
    return found


@pytest.fixture
def adapter(base: Base, touched: Touched, train_a_bit: Callable[[BaseModel], BaseModel]) -> Adapter:
    config = lora_config(2, 4, "users:1,items:3,transform,bias", alpha=1.5, seed=4)
    return made(base, train_a_bit(attach(base.model, config, touched)), config)


@pytest.fixture
def folder(tmp_path: Path, adapter: Adapter) -> Path:
    save_adapter(adapter, tmp_path)
    return tmp_path
