"""Small tables, features and histories that tests of two towers share."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse

from lorarec.data.features.table import FeatureTable, Vectors, bags_of
from lorarec.models.features import FeatureEmbedding

USERS = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
ITEMS = torch.randn(5, 4, generator=torch.Generator().manual_seed(2))
BIAS = torch.randn(5, 1, generator=torch.Generator().manual_seed(3))
HAD = sparse.csr_matrix(np.array([[1, 1, 0, 0, 1], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]))
EVERY = torch.cartesian_prod(torch.arange(3), torch.arange(5)).T


def embedding(count: int) -> FeatureEmbedding:
    """One feature of each kind, weights that are not zero."""
    missing = np.arange(count + 1) == count
    codes = np.arange(count + 1) % 3
    table = FeatureTable(
        known=~missing,
        categorical={"c": np.where(missing, 0, codes)},
        categories={"l": bags_of(np.arange(count), codes[:-1] % 2, missing, 2)},
        numeric_names=("n",),
        numeric=np.where(missing, 0, codes).astype(np.float32)[:, None],
        numeric_missing=missing[:, None],
        vectors={"v": Vectors(np.ones((count + 1, 2), np.float32) * ~missing[:, None], missing)},
    )
    made = FeatureEmbedding(table, {"c": 3, "l": 2}, 4)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return made
