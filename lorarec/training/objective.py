"""What a batch is trained toward: a loss over its rows and negatives of their domain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lorarec.models.base import BaseModel
from lorarec.training.examples import DomainExamples
from lorarec.training.lookups import distinct
from lorarec.training.losses import bpr, cosine_contrastive, full_softmax, sampled_softmax
from lorarec.training.temperature import LearntTemperature, temperature_of

Loss = Literal["softmax", "bpr", "ccl"]
Sampling = Literal["popularity", "uniform", "in-batch"]


@dataclass(frozen=True)
class Share:
    """The rows of a batch that one of several ranks computes: a stretch of them."""

    rank: int = 0
    ranks: int = 1

    def of(self, count: int) -> slice:
        """This rank's rows of so many.

        Where there are too few for all, a rank without any takes the first one, which counts
        nothing there: it draws what the others draw, and touches no row that they do not.
        """
        begin, end = self._bounds(count)
        return slice(begin, end) if begin < end else slice(0, 1)

    def portion(self, count: int, weights: Tensor | None) -> float | Tensor:
        """What the mean over this rank's rows counts for in the mean over the batch.

        Args:
            count: Rows of the batch.
            weights: float (count,): of the batch's rows; None weighs all alike.
        """
        begin, end = self._bounds(count)
        if weights is None:
            return (end - begin) / count
        return weights[begin:end].sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)

    def _bounds(self, count: int) -> tuple[int, int]:
        return count * self.rank // self.ranks, count * (self.rank + 1) // self.ranks


WHOLE = Share()


@dataclass(frozen=True)
class Objective:
    """A loss, and where its negatives come from: always the domain's own catalogue.

    `softmax` and `ccl` contrast every row of a batch with the same draws; `bpr`, as published,
    gives each row draws of its own. In the batch, the negatives are the other rows' items.
    """

    negatives: int
    """Draws a step. Softmax takes a catalogue that is not larger whole; BPR deals them out to the
    rows, at least one each. Not used in the batch, but by BPR in the same way."""
    loss: Loss = "softmax"
    sampling: Sampling = "popularity"
    """`in-batch`, or drawn as the domain's sampler draws."""
    margin: float = 0.9
    """m of CCL."""
    negative_weight: float = 150.0
    """w of CCL."""
    temperature: LearntTemperature | None = None
    """Where τ is trained too."""

    def __call__(
        self,
        model: BaseModel,
        domain: DomainExamples,
        batch: Tensor,
        generator: torch.Generator,
        share: Share = WHOLE,
    ) -> Tensor:
        """The loss of one batch of a domain's rows, averaged by their weights.

        Shares of a batch add up to it. Each makes the draws of the whole batch and takes its own,
        so that they do not depend on how many shares there are.

        Args:
            model: Gives vectors and biases.
            domain: Rows and catalogue.
            batch: int64 (n,): places of the batch's rows.
            generator: Of the draws.
            share: Which rows of the batch are computed here.
        """
        own = share.of(len(batch))
        places = domain.places.index_select(0, batch)
        weights = None if domain.weights is None else domain.weights.index_select(0, batch)
        rows = _Batch(
            model,
            domain,
            domain.users.index_select(0, batch[own]),
            places[own],
            None if weights is None else weights[own],
            places,
            own,
        )
        # A model with histories must not see there what the row is to predict.
        users = model.user_vectors(rows.users, without=domain.items.index_select(0, batch[own]))
        if self.temperature is not None:
            users = self.temperature.scaled(users)
        loss = self._loss(rows, users, generator)
        return loss if share == WHOLE else loss * share.portion(len(batch), weights)

    def _loss(self, rows: _Batch, users: Tensor, generator: torch.Generator) -> Tensor:
        if self.loss == "bpr":
            return self._bpr(rows, users, generator)
        if self.loss == "ccl":
            return self._ccl(rows, users, generator)
        if self.sampling != "in-batch" and len(rows.domain.sampler) <= self.negatives:
            return full_softmax(rows.grid(users), rows.places, rows.weights)
        return self._sampled(rows, users, generator)

    def _sampled(self, rows: _Batch, users: Tensor, generator: torch.Generator) -> Tensor:
        sampler, count = rows.domain.sampler, len(rows.batch)
        if self.sampling == "in-batch":
            # An item is in a batch as often as in the domain; n - 1 of the n draws are others'.
            drawn = rows.batch
            log_q = sampler.log_popularity.index_select(0, drawn)
            log_q = log_q + math.log(max(count - 1, 1) / count)
        else:
            drawn = sampler.draw(self.negatives, generator)
            log_q = sampler.log_probability.index_select(0, drawn)
        positive, negative = rows.scores(users, drawn)
        hits = rows.places.unsqueeze(1) == drawn.unsqueeze(0)
        return sampled_softmax(positive, negative, log_q, hits, rows.weights)

    def _bpr(self, rows: _Batch, users: Tensor, generator: torch.Generator) -> Tensor:
        count = len(rows.batch)
        each = max(1, self.negatives // count)
        if self.sampling == "in-batch":
            # Rows stand in a random order, so the items of the next ones are random draws.
            shifts = range(1, 1 + min(each, max(1, count - 1)))
            drawn = torch.stack([rows.batch.roll(-shift) for shift in shifts], 1)
        else:
            drawn = rows.domain.sampler.draw_for(rows.batch, each, generator)
        drawn = drawn[rows.own]
        positive, negative = rows.own_scores(users, drawn)
        hits = rows.domain.known.has(rows.users, drawn)
        return bpr(positive, negative, hits, rows.weights)

    def _ccl(self, rows: _Batch, users: Tensor, generator: torch.Generator) -> Tensor:
        in_batch = self.sampling == "in-batch"
        drawn = rows.batch if in_batch else rows.domain.sampler.draw(self.negatives, generator)
        columns, times = torch.unique(drawn, return_counts=True)
        positive, negative = rows.scores(users, columns)
        # The model's scores are cosines over τ; the margin is told in cosines.
        tau = temperature_of(rows.model)
        return cosine_contrastive(
            positive * tau,
            negative * tau,
            rows.domain.known.table(rows.users, columns),
            times.to(positive.dtype),
            self.margin,
            self.negative_weight,
            rows.weights,
        )


@dataclass(frozen=True)
class _Batch:
    """Rows of one domain, and how their users score its items. Scores are float32.

    They are a batch, or one rank's share of it: n of its b rows.
    """

    model: BaseModel
    domain: DomainExamples
    users: Tensor
    """int64 (n,): user rows."""
    places: Tensor
    """int64 (n,): places of the rows' items in the catalogue."""
    weights: Tensor | None
    batch: Tensor
    """int64 (b,): places of the items of all the batch's rows."""
    own: slice
    """Which of them these rows are."""

    def grid(self, users: Tensor) -> Tensor:
        """Scores of the whole catalogue: float (n, c)."""
        vectors, bias = self._items(self.domain.sampler.items)
        scores = (users @ vectors.T).float()
        return scores if bias is None else scores.add_(bias)

    def scores(self, users: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of the rows' own items and of the drawn ones for every row: (n,) and (n, m)."""
        vectors, bias, own, others = self._distinct(drawn)
        positive = (users * vectors.index_select(0, own)).sum(-1).float()
        negative = (users @ vectors.index_select(0, others).T).float()
        if bias is not None:
            positive = positive + bias.index_select(0, own)
            negative = negative.add_(bias.index_select(0, others))  # (n, m): no second copy
        return positive, negative

    def own_scores(self, users: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of the rows' own items and of each row's own draws: (n,) and (n, k)."""
        vectors, bias, own, others = self._distinct(drawn.flatten())
        positive = (users * vectors.index_select(0, own)).sum(-1).float()
        contrasted = vectors.index_select(0, others).view(*drawn.shape, -1)
        negative = (users.unsqueeze(1) * contrasted).sum(-1).float()
        if bias is not None:
            positive = positive + bias.index_select(0, own)
            negative = negative + bias.index_select(0, others).view(drawn.shape)
        return positive, negative

    def _distinct(self, drawn: Tensor) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        # Each distinct item is looked up once: positives and negatives repeat a lot.
        sampler = self.domain.sampler
        found, where = distinct(torch.cat([self.places, drawn]), len(sampler))
        vectors, bias = self._items(sampler.items.index_select(0, found))
        return vectors, bias, where[: len(self.places)], where[len(self.places) :]

    def _items(self, items: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.model.item_vectors(items), self.model.item_bias(items)
