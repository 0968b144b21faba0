"""Validation during training: full ranking over each domain's catalogue, on the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lorarec.data.interactions import Interactions
from lorarec.models.base import BaseModel

USERS = 4096
"""Validation users a domain, at most; drawn once by the seed."""
BLOCK = 1024
"""Users scored at once, so that memory stays bounded."""
PAIR_BLOCK = 2**24
"""Scores compared with held-out ones at once, for the same reason."""
CUT = 20
"""k of the validation recall."""
METRICS = (f"valid_recall_at_{CUT}", "valid_ndcg")
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class _Domain:
    name: str
    catalogue: Tensor
    """int64 (c,): item rows."""
    users: Tensor
    """int64 (m,): user rows."""
    held: tuple[Tensor, Tensor]
    """Places (user, catalogue) of held-out items, sorted by user."""
    seen: tuple[Tensor, Tensor]
    """Places (user, catalogue) of train items, sorted by user."""
    outside: Tensor
    """float (m,): held-out items that the catalogue lacks: certain misses."""


class RankingValidation:
    """Mean rank quality of a model over the validation users of some domains.

    Args:
        train: The training part: catalogue and seen filter.
        valid: The validation part, over the same vocabularies. Users without a validation row are
            left out; users or items unknown to the vocabularies are not in it.
        domains: Domains that count, each with the same weight.
        seed: Of the draw where a domain has more than 4096 validation users.
        device: Where to rank.
    """

    def __init__(
        self,
        train: Interactions,
        valid: Interactions,
        domains: list[str],
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        found = [_prepare(d, train.domain(d), valid.domain(d), seed, device) for d in domains]
        self._domains = [d for d in found if d is not None]

    def __len__(self) -> int:
        """Validation users in all."""
        return sum(len(d.users) for d in self._domains)

    @torch.no_grad()
    def __call__(self, models: Mapping[str, BaseModel]) -> dict[str, float]:
        """`valid_recall_at_20` (hits ÷ held-out) and `valid_ndcg` (log2, no cut-off).

        Each is a mean over users, then over domains. A tie counts as a miss. Empty when there is
        nothing to validate on.

        Args:
            models: The model of each domain by its name.
        """
        if not self._domains:
            return {}
        means = torch.stack([_measure(models[d.name], d).mean(1) for d in self._domains]).mean(0)
        return {name: float(mean) for name, mean in zip(METRICS, means, strict=True)}

    @torch.no_grad()
    def by_user(self, models: Mapping[str, BaseModel]) -> dict[str, Array]:
        """What the means are of: float64 (m,) by metric, the users in the order of their rows.

        Args:
            models: The model of each domain by its name; several domains are one after the other.
        """
        values = [_measure(models[d.name], d).cpu().numpy() for d in self._domains]
        return dict(zip(METRICS, np.concatenate(values, axis=1), strict=True)) if values else {}


def _prepare(
    name: str, train: Interactions, valid: Interactions, seed: int, device: str
) -> _Domain | None:
    if not len(train) or not len(valid):
        return None
    catalogue = np.unique(train.item)
    users = np.unique(valid.user)
    if len(users) > USERS:
        users = np.sort(np.random.default_rng(seed).choice(users, USERS, replace=False))
    held_user, held_item, outside = _places(valid, users, catalogue)
    seen_user, seen_item, _ = _places(train, users, catalogue)

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    return _Domain(
        name=name,
        catalogue=tensor(catalogue.astype(np.int64)),
        users=tensor(users.astype(np.int64)),
        held=(tensor(held_user), tensor(held_item)),
        seen=(tensor(seen_user), tensor(seen_item)),
        outside=tensor(outside).float(),
    )


def _places(
    rows: Interactions,
    users: np.ndarray,
    catalogue: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct (user, catalogue) places of the users' rows, and each user's items outside it."""
    pairs = np.unique(np.stack([rows.user, rows.item], 1).astype(np.int64), axis=0)
    place = np.searchsorted(users, pairs[:, 0]).clip(max=len(users) - 1)
    wanted = users[place] == pairs[:, 0]
    place, item = place[wanted], pairs[wanted, 1]
    column = np.searchsorted(catalogue, item).clip(max=len(catalogue) - 1)
    inside = catalogue[column] == item
    outside = np.bincount(place[~inside], minlength=len(users))
    return place[inside], column[inside], outside


def _measure(model: BaseModel, domain: _Domain) -> Tensor:
    """Recall and nDCG of each user: float64 (2, m)."""
    items = model.item_vectors(domain.catalogue)
    bias = model.item_bias(domain.catalogue)
    count = len(domain.users)
    hits, gain = torch.zeros(2, count, dtype=torch.float64, device=items.device)
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        scores = model.user_vectors(domain.users[start:stop]) @ items.T
        if bias is not None:
            scores += bias
        user, item = _between(domain.held, start, stop)
        own = scores[user - start, item]
        seen_user, seen_item = _between(domain.seen, start, stop)
        scores[seen_user - start, seen_item] = -torch.inf
        # A held-out item that is also in train can not be recommended: it ranks nowhere.
        lost = torch.isinf(scores[user - start, item])
        rank = _ranks(scores, user - start, own)
        gain.index_add_(0, user, torch.where(lost, 0.0, 1 / torch.log2(rank + 1)))
        hits.index_add_(0, user, ((rank <= CUT) & ~lost).double())
    held = torch.bincount(domain.held[0], minlength=count) + domain.outside
    best = (1 / torch.log2(torch.arange(2, int(held.max()) + 2, device=held.device))).cumsum(0)
    return torch.stack([hits / held, gain / best[held.long() - 1]])


def _ranks(scores: Tensor, users: Tensor, own: Tensor) -> Tensor:
    """Rank of each held-out score among its user's scores: float64 (pairs,).

    Ties count against it, and so does what is not a number: a model that fell apart ranks last.
    """
    step = max(1, PAIR_BLOCK // scores.shape[1])
    counts = [
        (~(scores.index_select(0, users[i : i + step]) < own[i : i + step].unsqueeze(1))).sum(1)
        for i in range(0, len(users), step)
    ]
    return torch.cat(counts).double() if counts else torch.zeros(0, device=scores.device).double()


def _between(places: tuple[Tensor, Tensor], start: int, stop: int) -> tuple[Tensor, Tensor]:
    low, high = torch.searchsorted(places[0], torch.tensor([start, stop], device=places[0].device))
    return places[0][low:high], places[1][low:high]
