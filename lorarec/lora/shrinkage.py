"""Shrinkage: rows with few interactions stay near the base, by a prior on their deltas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lorarec.lora.attach import deltas
from lorarec.lora.layers import FullRows, LoRAEmbedding
from lorarec.models.base import BaseModel

PARTS = {LoRAEmbedding: "a", FullRows: "d"}


def row_pulls(
    model: BaseModel, seen: Mapping[str, np.ndarray[Any, Any]], strength: float
) -> dict[str, Tensor]:
    """What decays the deltas of touched rows, at each step that touches them, by their counts.

        p_i = γ / n_i

    A normal prior on every delta adds (γ/2)|δ_i|² to a loss that is summed over the domain's rows,
    so each of the n_i rows of i has γ / n_i of its pull. It is decoupled from Adam's moments
    (Loshchilov and Hutter 2019), so γ has the unit of a weight decay and not of the loss; an item
    is touched as a negative too, and pulled then. It acts on the factor a_i of row LoRA and on the
    whole D_i of full fine-tuning alike. Grown rows have no base to stay near, and a domain's bias
    is known up to a constant only, so that zero is no place to shrink it to.

    Args:
        model: With an adapter, or fully fine-tuned; each touched row has a train row.
        seen: int (train rows,): the row of `users` and that of `items` of each.
        strength: γ; with 0 there is no pull.

    Returns:
        By parameter, such as `users.a`, float32 (touched rows,).
    """
    if not strength:
        return {}
    pulls = {}
    for name, module in deltas(model).items():
        if isinstance(module, LoRAEmbedding | FullRows) and len(module.rows):
            rows, counts = np.unique(seen[name], return_counts=True)
            own = counts[np.searchsorted(rows, module.rows.cpu().numpy())]
            pulls[f"{name}.{PARTS[type(module)]}"] = strength / torch.from_numpy(own).float()
    return pulls
