from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix, random_array

from lorarec.errors import ConfigError
from lorarec.retrieval.index import ExactIndex
from lorarec.retrieval.torch_index import TorchIndex


@pytest.mark.parametrize("metric", ["ip", "cosine"])
@pytest.mark.parametrize("biased", [False, True])
def test_torch_finds_what_faiss_finds(metric, biased):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(700, 12)).astype(np.float32)
    vectors[100:140] = vectors[7]  # ties
    users = np.concatenate([rng.normal(size=(60, 12)), 3 * vectors[[7]]]).astype(np.float32)
    bias = rng.normal(size=700).astype(np.float32) if biased else None
    seen = csr_matrix(random_array((61, 700), density=0.05, rng=rng, format="csr"))
    ours, theirs = (
        kind(vectors, item_bias=bias, metric=metric).search(users, 25, seen)
        for kind in (TorchIndex, ExactIndex)
    )
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_array_equal(ours[1], theirs[1])


def test_a_device_without_float64_is_refused():
    with pytest.raises(ConfigError, match="no float64"):
        TorchIndex(np.eye(2), device="mps")
