"""Training rows and validation users as tensors, grouped by domain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lorarec.data.interactions import Interactions
from lorarec.errors import TrainingError
from lorarec.storage import sha256_bytes
from lorarec.training.negatives import CatalogueSampler, KnownPairs


@dataclass(frozen=True)
class DomainExamples:
    """What one domain trains on."""

    name: str
    users: Tensor
    """int64 (n,): user row of each interaction."""
    items: Tensor
    """int64 (n,): item row of each interaction."""
    weights: Tensor | None
    """float32 (n,), or None where every row weighs 1."""
    sampler: CatalogueSampler
    """The domain's catalogue, to draw negatives from."""
    whole: DomainExamples | None = None
    """All rows of the domain, where these are some of them."""

    def only(self, rows: Tensor) -> DomainExamples:
        """Some of the rows, int64 (m,), beside the same catalogue and the same known pairs."""
        weights = None if self.weights is None else self.weights[rows]
        return replace(
            self, users=self.users[rows], items=self.items[rows], weights=weights, whole=self
        )

    def __len__(self) -> int:
        return len(self.users)

    def digest(self, rows: Tensor | slice = slice(None)) -> str:
        """Of some rows' users and items, such as a batch's, to find them again: 12 hex digits."""
        columns = (self.users[rows], self.items[rows])
        return sha256_bytes(*(column.cpu().numpy().tobytes() for column in columns))[:12]

    @cached_property
    def places(self) -> Tensor:
        """int64 (n,): place of each interaction's item in the catalogue."""
        return self.sampler.places(self.items)

    @cached_property
    def known(self) -> KnownPairs:
        """Which items of the catalogue each user has."""
        if self.whole is not None:
            return self.whole.known
        return KnownPairs(self.users, self.places, len(self.sampler))


def examples_of(
    train: Interactions, domains: Sequence[str], power: float = 1.0, device: str = "cpu"
) -> list[DomainExamples]:
    """Training rows of some domains.

    Args:
        train: The training part.
        domains: Their names, in the order wanted.
        power: Negatives are drawn ∝ count^power.
        device: Where the tensors live.

    Raises:
        TrainingError: A domain has no training row.
    """
    found = []
    for name in domains:
        part = train.domain(name)
        if not len(part):
            raise TrainingError(
                f"Domain {name!r} has no training row. Expected at least one; look at "
                f"`lorarec data describe` and at the split."
            )
        catalogue, counts = np.unique(part.item, return_counts=True)
        weighted = bool((part.weight != 1).any())
        if weighted and not float(part.weight.sum()) > 0:
            raise TrainingError(
                f"All {len(part)} training rows of domain {name!r} weigh 0. Expected some weight "
                f"above 0; check the weight column."
            )
        found.append(
            DomainExamples(
                name=name,
                users=torch.from_numpy(part.user.astype(np.int64)).to(device),
                items=torch.from_numpy(part.item.astype(np.int64)).to(device),
                weights=torch.from_numpy(part.weight).to(device) if weighted else None,
                sampler=CatalogueSampler(
                    torch.from_numpy(catalogue.astype(np.int64)).to(device),
                    torch.from_numpy(counts).to(device),
                    power,
                ),
            )
        )
    return found


def shuffled(
    domains: Sequence[DomainExamples], size: int, generator: torch.Generator
) -> list[tuple[DomainExamples, Tensor]]:
    """An epoch's batches of one domain each, rows and batches in a random order.

    Args:
        domains: Rows to train on.
        size: Rows of a batch.
        generator: Of the order.

    Returns:
        Domain and places of its rows, int64, for each batch.
    """
    found, device = [], generator.device
    for domain in domains:
        order = torch.randperm(len(domain), generator=generator, device=device)
        found += [(domain, part) for part in torch.split(order.to(domain.users.device), size)]
    places = torch.randperm(len(found), generator=generator, device=device)
    return [found[place] for place in places.tolist()]
