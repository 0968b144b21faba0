"""Shrinkage: rows with few interactions stay near the base, by a prior on their deltas."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from lorarec.lora.attach import deltas
from lorarec.lora.layers import FullRows, LoRAEmbedding
from lorarec.models.base import BaseModel


def row_pulls(model: BaseModel, seen: Mapping[str, Tensor], strength: float) -> dict[str, Tensor]:
    """What decays the deltas of touched rows when a step touches them, by their counts.

        p_i = γ / n_i

    A normal prior on every delta adds (γ/2)|δ_i|² to a loss summed over the domain's rows; dealt
    out over the n_i of them that belong to row i, each pulls with γ / n_i. The pull is that of
    decoupled weight decay (Loshchilov and Hutter 2019), on the factor a_i of row LoRA and on the
    whole D_i of full fine-tuning alike. Grown rows have no base to stay near, and a domain's bias
    is known up to a constant only, so that zero is no place to shrink it to.

    Args:
        model: With an adapter, or fully fine-tuned.
        seen: int64 (rows,): train interactions of each row of `users` and of `items`.
        strength: γ; with 0 there is no pull.

    Returns:
        By parameter, such as `users.a`, float32 (touched rows,).
    """
    if not strength:
        return {}
    parts = {LoRAEmbedding: "a", FullRows: "d"}
    return {
        f"{name}.{parts[type(module)]}": strength
        / seen[name][module.rows.cpu()].clamp(min=1).float()
        for name, module in deltas(model).items()
        if isinstance(module, LoRAEmbedding | FullRows) and len(module.rows)
    }
