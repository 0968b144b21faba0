"""Rows of several domains as one: what a stack of adapters is trained on, in mixed batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import Tensor

from lorarec.errors import TrainingError
from lorarec.training.examples import DomainExamples
from lorarec.training.negatives import CatalogueSampler


class MixedSampler(CatalogueSampler):
    """Draws for each row from the catalogue of the row's own domain, as its own sampler would.

    Args:
        samplers: One a domain.
        first: int64 (D + 1,): where the domains' items begin in the stacked table, and its end.
    """

    def __init__(self, samplers: Sequence[CatalogueSampler], first: Tensor) -> None:
        counts = [len(sampler) for sampler in samplers]
        super().__init__(
            torch.cat([s.items + k for s, k in zip(samplers, first.tolist(), strict=False)]),
            torch.cat([sampler.counts for sampler in samplers]),
        )
        self._ends = torch.tensor(counts, device=self.items.device).cumsum(0)
        # Each domain has an interval of length 1 of its own, k to k + 1.
        self.cumulative = torch.cat([s.cumulative + k for k, s in enumerate(samplers)])

    def draw(self, count: int, generator: torch.Generator) -> NoReturn:
        """Refused: rows of different domains share no negatives.

        Raises:
            TrainingError: Always.
        """
        raise TrainingError(
            "A mixed batch has no negatives that all of its rows could share. Expected a loss "
            "that draws for each row; use bpr, or batches of one domain each."
        )

    def draw_for(self, places: Tensor, each: int, generator: torch.Generator) -> Tensor:
        domains = torch.bucketize(places, self._ends, right=True)
        uniform = torch.rand(
            len(places), each, generator=generator, dtype=torch.float64, device=generator.device
        ).to(self.cumulative.device)
        drawn = torch.searchsorted(self.cumulative, uniform + domains.unsqueeze(1))
        # Rounding must not carry a draw over the end of its domain.
        return torch.minimum(drawn, self._ends.index_select(0, domains).unsqueeze(1) - 1)


def mixed(domains: Sequence[DomainExamples], users: Tensor, items: Tensor) -> DomainExamples:
    """The rows of several domains as those of one, over the tables of `lora.stacked`.

    Args:
        domains: In the order of the stack.
        users: int64 (D + 1,): where the domains' users begin in the stacked table, and its end.
        items: The same of items.
    """
    first_users, first_items = users.tolist(), items.tolist()
    weights = None
    if any(domain.weights is not None for domain in domains):
        weights = torch.cat(
            [torch.ones(len(d)) if d.weights is None else d.weights for d in domains]
        )
    return DomainExamples(
        name="+".join(domain.name for domain in domains),
        users=torch.cat([d.users + k for d, k in zip(domains, first_users, strict=False)]),
        items=torch.cat([d.items + k for d, k in zip(domains, first_items, strict=False)]),
        weights=weights,
        sampler=MixedSampler([domain.sampler for domain in domains], items),
    )
