"""An adapter that goes on: room for the ids of new rows, and what of it may move.

Only ids with a new row have entries that move: gradients of all others are taken away before the
optimiser sees them, whatever negatives were drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from lorarec.jobs.choose import Chosen
from lorarec.jobs.domain import DomainData, train_and_valid
from lorarec.jobs.new_rows import NewRows
from lorarec.jobs.search import Parameters, Start
from lorarec.lora.adapter import Adapter, on_base
from lorarec.lora.attach import adapter_parameters, adapter_state
from lorarec.lora.drift import Drift, drift
from lorarec.lora.extending import More, entries, extended, more_of
from lorarec.lora.state import TABLES, AdapterState
from lorarec.models.base import BaseModel
from lorarec.training.anchor import Anchor


@dataclass(frozen=True, eq=False)
class Going:
    """An adapter with room for the ids of new rows, and the rows themselves."""

    chosen: Chosen
    parent: Adapter
    room: Adapter
    """Scores whatever the parent knew as the parent does."""
    more: dict[str, More]
    """Users and items with a new row."""
    data: DomainData
    new: Tensor
    """int64 (m,): places of the new rows among the train rows."""

    @classmethod
    def of(cls, chosen: Chosen, adapter: Adapter, rows: NewRows) -> Going:
        """Give an adapter rows for the ids of new rows."""
        base, domain = chosen.base, adapter.info.domain
        fresh = rows.frame.filter("new")
        more = more_of(
            base,
            AdapterState.of(adapter),
            {"users": fresh["user_id"], "items": fresh["item_id"]},
        )
        empty = {name: torch.zeros(len(more[name].grown), base.model.dim) for name in TABLES}
        shape = extended(base, adapter, more, empty)  # for its vocabularies alone
        train, valid = train_and_valid(rows.frame, shape.users, shape.items)
        data = DomainData(domain, shape.users, shape.items, train, valid)
        room = extended(base, adapter, more, _first_vectors(chosen, adapter, more, data))
        # Rows of ids that the adapter lacks are old ones that it was not trained on after all.
        known = shape.users.rows(rows.frame["user_id"], missing="mark") >= 0
        known &= shape.items.rows(rows.frame["item_id"], missing="mark") >= 0
        mine = rows.frame.filter(pl.Series(known)).filter(pl.col("split") == "train")
        places = torch.from_numpy(np.flatnonzero(mine["new"].to_numpy()))
        return cls(chosen, adapter, room, more, data, places)

    def start(self, proximal: float, freeze_shared: bool) -> Start:
        """Where every trial begins, what of it moves, and what holds it back."""
        base, info = self.chosen.base, self.room.info
        state = AdapterState.of(self.room)
        tensors = {name: tensor.clone() for name, tensor in state.tensors.items()}
        moving = entries(tensors, self.more)
        began = self._began(tensors)

        def model() -> BaseModel:
            return on_base(base, info, tensors, state.grown).model

        def parameters(model: BaseModel) -> Parameters:
            found = adapter_parameters(model)
            if freeze_shared:
                found = {name: each for name, each in found.items() if name in moving}
            found = {n: p for n, p in found.items() if n not in moving or bool(moving[n].any())}
            for name, parameter in found.items():
                parameter.requires_grad_(True)
                if name in moving:
                    hold(parameter, moving[name])
            return found

        def anchors(parameters: Parameters) -> Mapping[str, Anchor]:
            if not proximal:
                return {}
            return {
                name: Anchor(
                    parameter.detach().clone(), proximal * began[name].to(parameter.device)
                )
                for name, parameter in parameters.items()
            }

        def finish(model: BaseModel) -> None:
            found = adapter_state(model)
            for name, own in moving.items():
                # An average of equal numbers is that number, but for the sign of a zero.
                found[name][~own] = tensors[name][~own]
            if freeze_shared and "bias.cold" in found:
                found["bias.cold"].copy_(tensors["bias.cold"])

        train = self.data.train
        return Start(
            model,
            model,
            (
                int((np.unique(train.user) < info.base_users).sum()),
                int((np.unique(train.item) < info.base_items).sum()),
            ),
            "the adapter stays as it was",
            "the adapter stays as it was, with room for the new ids",
            self.new,
            parameters,
            anchors,
            finish,
            fixed_cold=True,
        )

    def _began(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """1 for each row of a parameter that the parent had, 0 for what is new: it has no start."""
        old = AdapterState.of(self.parent)
        found = {name: torch.ones(len(tensor)) for name, tensor in tensors.items()}
        for name in found:
            table, _, part = name.rpartition(".")
            if part == "grown":
                found[name][self.more[table].had :] = 0.0
            elif table in TABLES and part in ("a", "d"):
                found[name] = torch.isin(tensors[f"{table}.rows"], old.rows(table)).float()
            elif name == "bias.b":
                found[name] = torch.isin(tensors["bias.rows"], old.rows("bias")).float()
        return found

    def drift(self, made: Adapter) -> dict[str, Drift]:
        """How far vectors of ids without a new row have moved, of `users` and of `items`."""
        old = AdapterState.of(self.parent)
        found = {}
        for name, before, after in (
            ("users", self.room.model.user_vectors, made.model.user_vectors),
            ("items", self.room.model.item_vectors, made.model.item_vectors),
        ):
            grown = torch.arange(self.more[name].had) + self.more[name].known
            own = torch.cat([old.rows(name), grown])
            if name == "items":
                own = torch.cat([own, old.rows("bias")])
            own = torch.unique(own)
            found[name] = drift(before, after, own[~torch.isin(own, self.more[name].rows)])
        return found

    def counts(self) -> dict[str, int]:
        """As `Continued.new`."""
        counts = {"rows": len(self.new)}
        counts |= {name: len(self.more[name].rows) for name in TABLES}
        return counts | {f"grown_{name}": len(self.more[name].grown) for name in TABLES}

    def sentence(self) -> str:
        """What is new, in words."""
        c = self.counts()
        return (
            f"{c['rows']:,} new train rows of {self.data.name}, of {c['users']:,} users "
            f"({c['grown_users']:,} never seen) and {c['items']:,} items ({c['grown_items']:,} "
            f"never seen)."
        )


def hold(parameter: nn.Parameter, moving: Tensor) -> None:
    """Take the gradients of all rows but some away before anything else sees them.

    Args:
        parameter: (n, ...), looked up with row-sparse gradients; must require them.
        moving: bool (n,): the rows that keep theirs.
    """
    moving = moving.to(parameter.device)

    def kept(grad: Tensor) -> Tensor:
        rows, values = grad._indices()[0], grad._values()
        own = moving[rows]
        held: Tensor = torch.sparse_coo_tensor(
            rows[own].unsqueeze(0), values[own], grad.shape, check_invariants=False
        )
        return held

    parameter.register_hook(kept)  # type: ignore[no-untyped-call]


def _first_vectors(
    chosen: Chosen, adapter: Adapter, more: Mapping[str, More], data: DomainData
) -> dict[str, Tensor]:
    """Where ids that nobody knew begin: their base's vector if it has gained them since, else their
    neighbours' mean direction."""
    model, base = adapter.model, chosen.base
    if not any(each.grown for each in more.values()):  # nothing of the tables is read then
        return {name: torch.empty(0, base.model.dim) for name in TABLES}
    pairs = data.train.csr().tocsr()
    pairs.data[:] = 1.0
    ends = {name: each.known + each.had for name, each in more.items()}
    with torch.no_grad():
        users = model.user_inputs(torch.arange(ends["users"]))
        items = model.item_inputs(torch.arange(ends["items"]))
        stops = {name: ends[name] + len(more[name].grown) for name in TABLES}
        new_users = _directions(
            pairs[ends["users"] : stops["users"], : ends["items"]], items, users
        )
        both = torch.cat([users, new_users])
        new_items = _directions(
            pairs[: stops["users"], ends["items"] : stops["items"]].T.tocsr(), both, items
        )
        for name, vectors, vocabulary, inputs in (
            ("users", new_users, base.users, base.model.user_inputs),
            ("items", new_items, base.items, base.model.item_inputs),
        ):
            if len(more[name].grown):
                place = torch.from_numpy(vocabulary.rows(more[name].grown, missing="mark"))
                there = place >= 0
                if bool(there.any()):
                    vectors[there] = inputs(place[there])
    return {"users": new_users, "items": new_items}


def _directions(pairs: sparse.csr_matrix, vectors: Tensor, like: Tensor) -> Tensor:
    """Mean directions of the rows' neighbours, as long as the rows of `like` are on average.

    Args:
        pairs: (new rows, known rows).
        vectors: (known rows, d).
        like: (n, d): table that the new rows are appended to.
    """
    directions = functional.normalize(vectors, dim=-1).numpy()
    mean = torch.from_numpy(np.asarray(pairs @ directions, dtype=np.float32))
    lonely = mean.norm(dim=-1) < 1e-6
    mean[lonely] = like.mean(0)
    grown: Tensor = functional.normalize(mean, dim=-1) * like.norm(dim=-1).mean()
    return grown
