"""Exact top-k over one catalogue by torch: on a GPU, where FAISS is built for the CPU alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lorarec.errors import ConfigError
from lorarec.retrieval.catalogue import BUDGET
from lorarec.retrieval.held import HeldIndex
from lorarec.retrieval.vectors import CatalogueVectors, Floats, Ints, Metric

# Numbers that one batch may hold on a GPU (1 GiB as float32).
_GPU_BUDGET = 1 << 28


class TorchIndex(HeldIndex):
    """As `ExactIndex`, to the bit of its rows and to rounding of its scores, on a torch device.

    Candidates are a matrix product and a top-k in float32 (never TF32), their scores are summed in
    float64 on the device.

    Args:
        item_vectors: float32 (n, d), one row an item.
        item_rows: int64 (n,), strictly ascending. None: 0 … n-1.
        item_bias: float32 (n,) added to each item's score. None: no bias.
        metric: `ip` or `cosine`.
        device: Such as `cpu` or `cuda:0`; one that has float64.

    Raises:
        ConfigError: The device has no float64.
        DataError: As `ExactIndex`.
    """

    def __init__(
        self,
        item_vectors: npt.ArrayLike,
        item_rows: npt.ArrayLike | None = None,
        item_bias: npt.ArrayLike | None = None,
        metric: Metric = "ip",
        device: str = "cpu",
    ) -> None:
        self.device = _with_float64(device)
        super().__init__(CatalogueVectors.of(item_vectors, item_rows, item_bias, metric))

    def _hold(self, catalogue: CatalogueVectors) -> None:
        super()._hold(catalogue)
        self._items = torch.from_numpy(catalogue.vectors).to(self.device)

    def only(self, item_rows: npt.ArrayLike) -> TorchIndex:
        index = TorchIndex.__new__(TorchIndex)
        index.device = self.device
        index._hold(self.catalogue.take(self.catalogue.positions(item_rows)))
        return index

    def _held(self, fetch: int) -> int:
        whole = len(self) + fetch * (self.dim + 1)
        return max(1, whole * BUDGET // _GPU_BUDGET) if self.device.type == "cuda" else whole

    @torch.no_grad()
    def _candidates(self, users: Floats, fetch: int) -> tuple[Ints, npt.NDArray[np.floating]]:
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False  # its error is beyond the bound below
        try:
            scores = torch.from_numpy(users).to(self.device) @ self._items.T
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before
        found, positions = torch.topk(scores, fetch, dim=1, sorted=False)
        least = found.amin(dim=1).cpu().numpy()
        return positions.cpu().numpy(), least + self._rounding(users)

    @torch.no_grad()
    def _rescored(self, users: Floats, positions: Ints) -> Floats:
        wide = torch.from_numpy(users).to(self.device).double()
        vectors = self._items[torch.from_numpy(positions).to(self.device)].double()
        return _as_numpy(torch.einsum("bfd,bd->bf", vectors, wide))

    @torch.no_grad()
    def _scores(self, users: Floats) -> Floats:
        wide = torch.from_numpy(users).to(self.device).double()
        step = max(1, BUDGET // (2 * self._items.shape[1]))
        blocks = [
            wide @ self._items[start : start + step].double().T
            for start in range(0, len(self._items), step)
        ]
        return _as_numpy(torch.cat([block.float() for block in blocks], dim=1))


def _as_numpy(scores: torch.Tensor) -> Floats:
    found: Any = scores.float().cpu().numpy()
    return np.array(found)  # its own, as scores of what was seen are written over


def _with_float64(name: str) -> torch.device:
    device = torch.device(name)
    if device.type == "mps":
        raise ConfigError(
            f"The device {name!r} has no float64, by which ties are settled. Expected cpu or cuda."
        )
    return device
