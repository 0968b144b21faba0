"""Negatives from a domain's own catalogue, with their log probabilities, and what a user has."""

from __future__ import annotations

import torch
from torch import Tensor

from lorarec.training.lookups import Ends


class CatalogueSampler:
    """Draws items of one domain with probability q(i) ∝ count(i)^power, with replacement.

    Args:
        items: int64 (c,), sorted and distinct: the domain's catalogue.
        counts: float (c,): interactions of each item in train, above 0.
        power: 1 is popularity, 0 uniform.
    """

    def __init__(self, items: Tensor, counts: Tensor, power: float = 1.0) -> None:
        weights = counts.double().clamp(min=1e-12) ** power
        self.items = items
        self.counts = counts
        self.log_probability = (weights / weights.sum()).log().float()
        self.log_popularity = (counts.double() / counts.double().sum()).log().float()
        """float (c,): log of each item's share of the train rows, as it occurs in a batch."""
        self._uniform = power == 0.0
        self.ends = Ends((weights.cumsum(0) / weights.sum()).to(items.device))
        """Of each item's interval: the share of the draws that are it or one before it."""

    def __len__(self) -> int:
        return len(self.items)

    def places(self, items: Tensor) -> Tensor:
        """Places of catalogue items in `items`: int64 (n,) → int64 (n,)."""
        return torch.searchsorted(self.items, items)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Places of `count` drawn items, int64 (count,), made on the generator's device.

        By inverting the cumulative distribution: one uniform number and one search a draw.
        """
        device, catalogue = generator.device, len(self.items)
        if self._uniform:
            drawn = torch.randint(catalogue, (count,), generator=generator, device=device)
            return drawn.to(self.items.device)
        uniform = torch.rand(count, generator=generator, dtype=torch.float64, device=device)
        places = self.ends(uniform.to(self.items.device))
        return places.clamp(max=catalogue - 1)

    def draw_for(self, places: Tensor, each: int, generator: torch.Generator) -> Tensor:
        """Draws of their own for each of n rows, whose items are at `places`: int64 (n, each)."""
        return self.draw(len(places) * each, generator).view(len(places), each)


class KnownPairs:
    """Which items of one catalogue each user has in train.

    One sorted number a distinct pair, so that a lookup is a binary search, and a table of marks by
    hash before it (Bloom 1970), which answers for most pairs that are not there at the price of one
    fetch: 16 to 24 bytes a pair, and nothing that grows with users times items.

    Args:
        users: int64 (n,): user of each row.
        places: int64 (n,): place of its item in the catalogue.
        catalogue: c, the number of items in it.
    """

    def __init__(self, users: Tensor, places: Tensor, catalogue: int) -> None:
        self._catalogue = catalogue
        self._keys = torch.unique(users * catalogue + places)
        self._bits = (8 * len(self._keys)).bit_length()
        self._marks = torch.zeros(1 << self._bits, dtype=torch.bool, device=users.device)
        self._marks[self._hash(self._keys)] = True

    def has(self, users: Tensor, places: Tensor) -> Tensor:
        """Whether each user has its items: int64 (n,) and int64 (n, k) → bool (n, k)."""
        keys = (users.unsqueeze(1) * self._catalogue + places).view(-1)
        there = self._marks.index_select(0, self._hash(keys))
        maybe = torch.nonzero(there).squeeze(1)
        asked = keys.index_select(0, maybe)
        found = torch.searchsorted(self._keys, asked).clamp_(max=len(self._keys) - 1)
        there.index_copy_(0, maybe, self._keys.index_select(0, found) == asked)
        return there.view(places.shape)

    def _hash(self, keys: Tensor) -> Tensor:
        # Knuth's multiplicative hash: the upper bits of a product that wraps around.
        return (keys * -7046029254386353131 >> 64 - self._bits) & ((1 << self._bits) - 1)

    def table(self, users: Tensor, columns: Tensor) -> Tensor:
        """Whether each user has each item: int64 (n,) and sorted int64 (u,) → bool (n, u).

        It walks over what the users have instead of the n·u pairs.
        """
        first = torch.searchsorted(self._keys, users * self._catalogue)
        counts = torch.searchsorted(self._keys, (users + 1) * self._catalogue) - first
        rows = torch.repeat_interleave(torch.arange(len(users), device=users.device), counts)
        start = (first - (counts.cumsum(0) - counts)).index_select(0, rows)
        keys = self._keys.index_select(0, start + torch.arange(len(rows), device=users.device))
        places = keys - users.index_select(0, rows) * self._catalogue
        found = torch.searchsorted(columns, places).clamp_(max=len(columns) - 1)
        there = columns.index_select(0, found) == places
        hits = torch.zeros(len(users), len(columns), dtype=torch.bool, device=users.device)
        hits.view(-1)[(rows * len(columns) + found)[there]] = True
        return hits
