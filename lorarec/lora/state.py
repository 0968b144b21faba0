"""An adapter as plain tensors with all that gives them a meaning: what the algebra works on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import AdapterMismatchError
from lorarec.lora.adapter import Adapter, grown_ids
from lorarec.lora.attach import adapter_state, deltas
from lorarec.lora.config import AdapterConfig
from lorarec.lora.layers import RowTable
from lorarec.lora.products import Product

TABLES = ("users", "items")
FACTORS = {"users": ("a", "b"), "items": ("a", "b"), "transform": ("p", "q")}
"""The left and the right factor of each target of every base that has them."""
OF_LAYER = ("b", "a")
"""Those of a tower's layer, to whose W their product is added."""


@dataclass(frozen=True, eq=False)
class AdapterState:
    """The tensors of an adapter, as they are saved, and what they stand for."""

    config: AdapterConfig
    tensors: Mapping[str, Tensor]
    """As `adapter_state` gives them, such as `users.a`."""
    scales: Mapping[str, float]
    """s of each target that has factors."""
    grown: Mapping[str, list[str]]
    """Ids of grown `users` and `items`, in the order of their vectors."""
    known: Mapping[str, int]
    """Rows of the base's `users` and `items` when it was trained."""
    dim: int
    base_digest: str
    domain: str

    @classmethod
    def of(cls, adapter: Adapter) -> AdapterState:
        """The state of an adapter; it shares the adapter's tensors."""
        info, model = adapter.info, adapter.model
        known = {"users": info.base_users, "items": info.base_items}
        vocabularies = {"users": adapter.users, "items": adapter.items}
        tables = {name: getattr(model, name) for name in TABLES}
        return cls(
            config=info.config,
            tensors=adapter_state(model),
            scales={
                name: scale
                for name, module in deltas(model).items()
                if isinstance(scale := getattr(module, "scale", None), float)
            },
            grown={
                # What was appended to the base since lies behind the grown rows.
                name: grown_ids(
                    vocabularies[name],
                    known[name],
                    len(table.grown) if isinstance(table, RowTable) else 0,
                )
                for name, table in tables.items()
            },
            known=known,
            dim=info.dim,
            base_digest=info.base_digest,
            domain=info.domain,
        )

    def rows(self, name: str) -> Tensor:
        """int64 (t,), sorted: touched rows of `users` or `items`, or items with a bias."""
        return self.tensors.get(f"{name}.rows", torch.empty(0, dtype=torch.int64))

    def product(self, name: str) -> Product | None:
        """The factors of a target as stored, without the scale; None where it has none."""
        left, right = FACTORS.get(name, OF_LAYER)
        if f"{name}.{left}" not in self.tensors:
            return None
        return Product(self.tensors[f"{name}.{left}"], self.tensors[f"{name}.{right}"])

    def linear(self, name: str) -> Product | None:
        """What a layer or the transform is moved by, as a product; None where it is not.

        Of a tower's layer (out, in) it is W + left · right, of the transform e + e · left · right.
        """
        product = self.product(name)
        if product is not None:
            return Product(self.scales[name] * product.left, product.right)
        whole = self.tensors.get(f"{name}.d")
        if whole is None:
            return None
        # A whole transform is a W, which stands on the other side of e.
        whole = whole.T if name == "transform" else whole
        return Product(whole, torch.eye(whole.shape[1]))

    @property
    def linear_targets(self) -> list[str]:
        """The transform and layers of towers that are moved, low-rank or whole."""
        asked = {*self.config.ranks, *self.config.whole} - set(TABLES)
        return sorted(asked, key=lambda name: (name != "transform", name))

    def delta(self, name: str, slots: Tensor) -> Tensor:
        """What touched rows of a table are moved by: places in `rows`, (n,) → float32 (n, d)."""
        full = self.tensors.get(f"{name}.d")
        if full is not None:
            return full[slots]
        product = self.product(name)
        if product is None:
            return torch.zeros(len(slots), self.dim)
        return self.scales[name] * (product.left[slots] @ product.right)

    def bias(self, rows: Tensor, grown: Vocabulary) -> Tensor:
        """β of items, the constant where they have none of their own: (n,) → float64 (n,).

        Args:
            rows: int64 (n,), sorted; a grown item's is n_i + its place in `grown`.
            grown: Has all that are grown here, and maybe others.
        """
        own = self.bias_rows(grown)
        if not len(own):
            return torch.zeros(len(rows), dtype=torch.float64)
        values = self.tensors["bias.cold"].double().expand(len(rows)).clone()
        values[torch.searchsorted(rows, own)] = self.tensors["bias.b"][:, 0].double()
        return values

    def bias_rows(self, grown: Vocabulary) -> Tensor:
        """Items with a β of their own, int64 (t,), as rows of a table with other grown ones."""
        rows, known = self.rows("bias").clone(), self.known["items"]
        is_grown = rows >= known
        places = torch.from_numpy(grown.rows(self.grown["items"])) + known
        rows[is_grown] = places[rows[is_grown] - known]
        return rows


def check_same_base(states: Sequence[AdapterState]) -> None:
    """Refuse adapters that do not speak of the same rows.

    Raises:
        AdapterMismatchError: They are of different bases, both digests are named, or the base had
            gained rows between them.
    """
    first = states[0]
    for other in states[1:]:
        if other.base_digest != first.base_digest:
            raise AdapterMismatchError(
                f"The adapter of {first.domain!r} is of the base with digest {first.base_digest}, "
                f"that of {other.domain!r} of {other.base_digest}. Expected one base for all: "
                f"adapt to it again, lorarec adapt --domain {other.domain} --base URI"
            )
        if dict(other.known) != dict(first.known):
            raise AdapterMismatchError(
                f"The adapter of {first.domain!r} was trained beside {_counts(first)} of the base "
                f"and that of {other.domain!r} beside {_counts(other)}: the base has gained rows "
                f"between them. Expected the same rows for both; adapt the older one again, "
                f"lorarec adapt --domain {first.domain}"
            )


def _counts(state: AdapterState) -> str:
    return f"{state.known['users']:,} users and {state.known['items']:,} items"
