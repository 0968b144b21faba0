"""An adapter computed from others: a state on its base again, with a record of what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from lorarec.data.later_split import latest
from lorarec.lora.adapter import Adapter, AdapterInfo, adapter_digest, on_base
from lorarec.lora.algebra import check_rank, truncate, weighted_sum
from lorarec.lora.derivation import Derivation
from lorarec.lora.quantization import Storage, rounded
from lorarec.lora.size import adapter_size
from lorarec.lora.state import TABLES, AdapterState
from lorarec.models.artefact import Base, library_versions
from lorarec.storage import sha256_bytes


def summed(
    base: Base,
    adapters: Sequence[Adapter],
    weights: Sequence[float],
    rank: int | None = None,
    domain: str | None = None,
) -> Adapter:
    """The weighted sum of adapters, truncated where a rank is named; see `algebra.weighted_sum`.

    Args:
        base: Of all of them.
        adapters: Of any domains.
        weights: One for each.
        rank: Of every target of the sum that would have more; None truncates nothing.
        domain: The sum's; None is the first one's.

    Raises:
        AdapterMismatchError: They are of different bases.
        ConfigError: The weights or the rank cannot be.
    """
    state = weighted_sum([AdapterState.of(a) for a in adapters], weights, domain)
    kept: dict[str, float] = {}
    if rank is not None:
        check_rank(rank, state)
        config = state.config
        rows = config.kind == "full" or any(name in config.whole for name in TABLES)
        if rows or max(config.ranks.values(), default=0) > rank:
            state, kept = truncate(state, rank)
    how = _derivation("sum", adapters, weights, kept)
    return completed(base, state, how, _together(adapters))


def truncated_to(base: Base, adapter: Adapter, rank: int) -> Adapter:
    """The nearest adapter of a rank; see `algebra.truncate`."""
    state, kept = truncate(AdapterState.of(adapter), rank)
    return completed(base, state, _derivation("truncate", [adapter], [1.0], kept), adapter.info)


def quantized(base: Base, adapter: Adapter, storage: Storage) -> Adapter:
    """The adapter with its numbers as the storage holds them; see `quantization.rounded`."""
    state = AdapterState.of(adapter)
    found = rounded({name: t.numpy() for name, t in state.tensors.items()}, storage)
    nearest = replace(state, tensors={n: torch.from_numpy(array) for n, array in found.items()})
    how = _derivation("quantize", [adapter], [1.0], {})
    return completed(base, nearest, how, adapter.info, storage)


def _derivation(
    how: str, adapters: Sequence[Adapter], weights: Sequence[float], kept: Mapping[str, float]
) -> Derivation:
    return Derivation.model_validate(
        {
            "how": how,
            "parents": [adapter.info.digest for adapter in adapters],
            "weights": list(weights),
            "kept": dict(kept),
        }
    )


def _together(adapters: Sequence[Adapter]) -> AdapterInfo:
    """What is known of a sum: of the first what they share, of several logs a digest of theirs."""
    infos = [adapter.info for adapter in adapters]
    logs = sorted({info.data_digest for info in infos})
    rates = {info.learning_rate for info in infos}
    return infos[0].model_copy(
        update={
            "split": latest(info.split for info in infos),
            "trained_on": list({s.digest: s for i in infos for s in i.trained_on}.values()),
            "data_digest": logs[0] if len(logs) == 1 else sha256_bytes(*map(str.encode, logs)),
            "learning_rate": rates.pop() if len(rates) == 1 else 0.0,
            "parameters": {"full": max(info.parameters["full"] for info in infos)},
        }
    )


def completed(
    base: Base,
    state: AdapterState,
    how: Derivation,
    parent: AdapterInfo,
    storage: Storage = "fp32",
) -> Adapter:
    """An adapter of a state that was not trained here, on its base, with its own record.

    Args:
        base: The one that `parent` names.
        state: What it is made of.
        how: It came of others.
        parent: Has what is not computed anew: vocabularies, logs, split, learning rate.
        storage: How its numbers are kept.

    Raises:
        AdapterMismatchError: The tensors do not fit the state's shape, or are not finite.
    """
    info = parent.model_copy(
        update={
            "domain": state.domain,
            "config": state.config,
            "metrics": {},
            "versions": library_versions(),
            "storage": storage,
            "made_of": how,
        }
    )
    made = on_base(base, info, state.tensors, state.grown)
    touched = (len(state.rows("users")), len(state.rows("items")))
    size = adapter_size(made.model, *touched)
    known = {
        "digest": adapter_digest(made.model, (state.grown["users"], state.grown["items"])),
        "weights_digest": sha256_bytes(),
        "parameters": {
            "factors": size.factors,
            "grown": size.grown,
            # Of targets without rows of their own it is not known which rows the domain has.
            "full": max(size.full, parent.parameters["full"]),
        },
    }
    return replace(made, info=info.model_copy(update=known))
