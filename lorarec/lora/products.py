"""Products of two thin factors: scaled, stacked and truncated without ever being multiplied out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Product:
    """The matrix left · right, (n, d), of which only the factors exist."""

    left: Tensor
    """(n, r)."""
    right: Tensor
    """(r, d)."""

    @property
    def rank(self) -> int:
        """r: columns of the left factor, which the matrix's own rank does not exceed."""
        return self.left.shape[1]


def stacked(products: Sequence[Product]) -> Product:
    """The sum of products of one shape: factors side by side, so that ranks add up. Exact."""
    return Product(
        torch.cat([product.left for product in products], 1),
        torch.cat([product.right for product in products]),
    )


def truncated(product: Product, rank: int) -> tuple[Product, float]:
    """The nearest matrix of a rank, by QR of both factors and SVD of their small core.

        left = Q_l R_l,  rightᵀ = Q_r R_r,  R_l R_rᵀ = U Σ Vᵀ
        left' = Q_l U_k Σ_k,  right' = V_kᵀ Q_rᵀ

    No matrix of rank k is nearer in the Frobenius norm (Eckart and Young 1936): U Σ Vᵀ between
    Q_l and Q_rᵀ is the SVD of the product. Cost: (n + d) r² + r³.

    Args:
        product: (n, d) of rank r.
        rank: k, 1 or more.

    Returns:
        float64 factors, the rows of the right one orthonormal, and the share of the squared
        Frobenius norm that is kept; 1 of a product that is zero. Their rank is below k where
        min(n, r, d) is.
    """
    q_left, r_left = torch.linalg.qr(product.left.double())
    q_right, r_right = torch.linalg.qr(product.right.double().T)
    u, s, vt = torch.linalg.svd(r_left @ r_right.T, full_matrices=False)
    energy = s.square()
    total = float(energy.sum())
    kept = float(energy[:rank].sum()) / total if total else 1.0
    return Product(q_left @ (u[:, :rank] * s[:rank]), vt[:rank] @ q_right.T), kept


def singular_values(product: Product) -> Tensor:
    """Singular values of left · right, largest first: float64 (min(n, r, d),)."""
    r_left = torch.linalg.qr(product.left.double(), mode="r").R
    r_right = torch.linalg.qr(product.right.double().T, mode="r").R
    values: Tensor = torch.linalg.svdvals(r_left @ r_right.T)
    return values
