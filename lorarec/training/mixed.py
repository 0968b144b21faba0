"""Rows of several domains as one: what a stack of adapters is trained on, in mixed batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import Tensor

from lorarec.errors import TrainingError
from lorarec.training.examples import DomainExamples
from lorarec.training.lookups import Ends
from lorarec.training.negatives import CatalogueSampler


class MixedSampler(CatalogueSampler):
    """Draws for each row from the catalogue of the row's own domain, as its own sampler would.

    Args:
        samplers: One a domain.
        stride: Rows of the stacked table that each domain's items have.
    """

    def __init__(self, samplers: Sequence[CatalogueSampler], stride: int) -> None:
        super().__init__(
            torch.cat([sampler.items + k * stride for k, sampler in enumerate(samplers)]),
            torch.cat([sampler.counts for sampler in samplers]),
        )
        sizes = torch.tensor([len(sampler) for sampler in samplers], device=self.items.device)
        self._last = sizes.cumsum(0) - 1
        """int64 (D,): place of each domain's last item."""
        self._domain = torch.repeat_interleave(sizes)
        """int64 (c,): k of each item of the catalogues."""
        # Each domain has an interval of length 1 of its own, k to k + 1.
        of_all = torch.cat([sampler.ends.ends + k for k, sampler in enumerate(samplers)])
        self.ends = Ends(of_all, len(samplers))

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
        domains = self._domain.index_select(0, places)
        if each > 1:
            domains = domains.repeat_interleave(each)
        uniform = torch.rand(
            len(domains), generator=generator, dtype=torch.float64, device=generator.device
        )
        drawn = self.ends(uniform.to(self.items.device) + domains)
        # Rounding must not carry a draw over the end of its domain.
        return torch.minimum(drawn, self._last.index_select(0, domains)).view(-1, each)


def mixed(domains: Sequence[DomainExamples], users: int, items: int) -> DomainExamples:
    """The rows of several domains as those of one, over the tables of `lora.stacked`.

    Args:
        domains: In the order of the stack.
        users: The stride of its users: rows of the stacked table that each domain has.
        items: That of its items.
    """
    weights = None
    if any(domain.weights is not None for domain in domains):
        weights = torch.cat(
            [torch.ones(len(d)) if d.weights is None else d.weights for d in domains]
        )
    return DomainExamples(
        name="+".join(domain.name for domain in domains),
        users=torch.cat([domain.users + k * users for k, domain in enumerate(domains)]),
        items=torch.cat([domain.items + k * items for k, domain in enumerate(domains)]),
        weights=weights,
        sampler=MixedSampler([domain.sampler for domain in domains], items),
    )
