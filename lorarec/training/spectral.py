"""A spectral start for matrix factorization: the leading singular vectors of the logs."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

RANK_TOLERANCE = 1e-5
"""Singular values below this share of the largest are rounding of float32."""
STEPS = 4
"""Power iterations of the randomised SVD; more sharpens the last directions only."""


def spectral_tables(interactions: sparse.csr_matrix, dim: int, seed: int) -> tuple[Tensor, Tensor]:
    """Initial user and item vectors of norm about 1 from a truncated SVD.

    With R the interactions scaled by 1/√(degree) on both sides, R ≈ U S Vᵀ. Items start at the rows
    of V, and users at the mean of their items' rows; both are scaled to norm 1. Small noise is
    added, all there is of a row without interactions and of directions beyond the rank of R. The
    SVD is the randomised one of Halko, Martinsson and Tropp 2011, as torch has it.

    Args:
        interactions: (users, items), counts or weights of the training rows.
        dim: d.
        seed: Of the random projections and the noise.

    Returns:
        float32 (users, d) and (items, d).
    """
    binary = interactions.astype(np.float32).tocsr()
    binary.data[:] = 1.0
    users = _inverse_root(binary.sum(1))
    items = _inverse_root(binary.sum(0))
    scaled = sparse.diags(users) @ binary @ sparse.diags(items)
    kept = min(dim, *binary.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        coo = scaled.tocoo()
        matrix = torch.sparse_coo_tensor(
            torch.from_numpy(np.stack([coo.row, coo.col]).astype(np.int64)),
            torch.from_numpy(coo.data.astype(np.float32)),
            coo.shape,
            check_invariants=False,
        ).coalesce()
        # A few directions more than wanted make the wanted ones accurate.
        _, strength, right = torch.svd_lowrank(matrix, q=min(kept + 8, *binary.shape), niter=STEPS)
        noise = [torch.randn(count, dim) * 0.1 / math.sqrt(dim) for count in binary.shape]
    item_table = torch.zeros(binary.shape[1], dim)
    # Directions beyond the rank are arbitrary and say nothing of an item.
    item_table[:, :kept] = (right * (strength > RANK_TOLERANCE * strength[0]))[:, :kept]
    mean = torch.from_numpy(
        np.asarray(sparse.diags(users) @ (binary @ item_table.numpy()), dtype=np.float32)
    )
    return _unit(mean, noise[0]), _unit(item_table, noise[1])


def _inverse_root(degrees: np.ndarray) -> np.ndarray:
    flat = np.asarray(degrees, dtype=np.float64).ravel()
    return np.divide(1.0, np.sqrt(flat), out=np.zeros_like(flat), where=flat > 0)


def _unit(vectors: Tensor, noise: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1) + noise
