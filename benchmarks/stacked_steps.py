"""One step of many domains: their factors stacked in batched matrix products, or one by one.

What `benchmarks/lora.py` measures with it decides whether `adapt --all-domains` should batch its
domains. Both ways look up frozen rows, add the low-rank deltas of users, items and transform, score
the whole catalogue by cosine, take the softmax's gradient and step with fused AdamW; they share
everything else, so this is the most that stacking could gain.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

ROWS, RANK, TEMPERATURE = 20_000, 8, 0.15


@dataclass
class Domains:
    """D domains of the same size over one frozen base of random numbers.

    Attributes:
        count: D.
        batch: Rows of a domain's step.
        catalogue: Items of a domain.
        dim: d.
    """

    count: int
    batch: int
    catalogue: int
    dim: int
    factors: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        many, n, c, d = self.count, self.batch, self.catalogue, self.dim
        own = torch.Generator().manual_seed(0)
        self.tables = [torch.randn(ROWS, d, generator=own) for _ in range(2)]
        self.users = torch.randint(ROWS, (many, n), generator=own)
        self.items = torch.randint(ROWS, (many, c), generator=own)
        self.places = torch.randint(c, (many, n), generator=own)
        shapes = [(n, RANK), (RANK, d), (c, RANK), (RANK, d), (d, RANK), (RANK, d), (1, c)]
        scales = (0.1, 1.0, 0.1, 1.0, 0.01, 1.0, 0.0)
        self.factors = [
            torch.randn(many, *shape, generator=own) * scale
            for shape, scale in zip(shapes, scales, strict=True)
        ]

    def step(self, which: slice) -> Callable[[], Tensor]:
        """A step of some of the domains at once; it returns their losses' sum."""
        factors = [part[which].clone().requires_grad_() for part in self.factors]
        optimizer = torch.optim.AdamW(factors, lr=1e-3, fused=True)
        a_users, b_users, a_items, b_items, p, q, bias = factors
        users, items = self.users[which], self.items[which]
        places = self.places[which].reshape(-1)

        def step() -> Tensor:
            optimizer.zero_grad()
            user = torch.baddbmm(self.tables[0][users], a_users, b_users)
            item = torch.baddbmm(self.tables[1][items], a_items, b_items)
            item = item + (item @ p) @ q
            user = functional.normalize(user, dim=-1) / TEMPERATURE
            scores = torch.baddbmm(bias, user, functional.normalize(item, dim=-1).mT)
            flat = scores.view(-1, self.catalogue)
            loss = functional.cross_entropy(flat, places, reduction="sum") / self.batch
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step


def milliseconds(domains: Domains, rounds: int) -> tuple[float, float]:
    """Processor time of a step of all domains, one by one and stacked; medians, in turns.

    Raises:
        ValueError: They do not come to the same loss.
    """
    alone = [domains.step(slice(place, place + 1)) for place in range(domains.count)]
    stacked = domains.step(slice(None))
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        losses = []
        for times, steps in zip(found, (alone, [stacked]), strict=True):
            started = time.process_time()
            losses.append(float(sum(step() for step in steps)))
            times.append((time.process_time() - started) * 1e3)
        if abs(losses[0] - losses[1]) > 1e-4 * abs(losses[0]):
            raise ValueError(f"Stacked, the loss is {losses[1]}, and {losses[0]} one by one.")
    return statistics.median(found[0][1:]), statistics.median(found[1][1:])


def sizes(quick: bool) -> Sequence[Domains]:
    """From few large domains, as XMarket's markets, to many tiny ones; of a quick run the last."""
    every = ((7, 1024, 2000, 128), (16, 300, 250, 64), (64, 64, 60, 64), (256, 16, 20, 64))
    return [Domains(*size) for size in (every[-1:] if quick else every)]
