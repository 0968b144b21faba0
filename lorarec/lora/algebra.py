"""Weighted sums and truncation of adapters, exact and on the factors alone.

No dense delta of a table is made: sums stack factors, and truncation is a QR of the factors with an
SVD of their small core. Both are computed in float64 and stored in float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import ConfigError
from lorarec.lora.config import RANKED, AdapterConfig
from lorarec.lora.products import Product, stacked, truncated
from lorarec.lora.state import FACTORS, OF_LAYER, TABLES, AdapterState, check_same_base

BLOCK = 65_536
"""Rows whose deltas are written out at once."""


def weighted_sum(
    states: Sequence[AdapterState], weights: Sequence[float], domain: str | None = None
) -> AdapterState:
    """One adapter that moves the base by Σ w_k times what each of several moves it by.

        users, items    δ_i = Σ w_k s_k a_ik B_k     over the union of the touched rows
        transform       e ← e + Σ w_k s_k (e P_k) Q_k
        layers          W + Σ w_k s_k B_k A_k, and W + Σ w_k D_k where one k has it whole
        bias            β_i = Σ w_k β_ik             with k's constant where k has no β of item i
        grown           g = Σ |w_k| g_k / Σ |w_k|    over the k that have grown the id

    Each part is summed by itself, as merging the deltas of each into the base would. Deltas of
    known rows add up, full rows among them: where one k has full rows the sum has them too. A grown
    row has no base to be a delta of, e = g, and so its vectors are averaged: an id that one adapter
    alone has grown keeps its vector whatever the weights are, and a negative weight turns no vector
    round. Ranks add up; one above d is brought to d, which loses nothing. The sum of one adapter
    with weight 1 is that adapter to the bit.

    Args:
        states: Of one base, of any domains, ranks and scales.
        weights: One for each, finite and not 0.
        domain: The sum's; None is the first one's.

    Raises:
        AdapterMismatchError: They are of different bases.
        ConfigError: The weights cannot be.
    """
    _check_weights(states, weights)
    check_same_base(states)
    alike = len({_all_alphas(state.config) for state in states}) == 1
    states = states if alike else [with_one_alpha(state) for state in states]
    first = states[0]
    pairs = list(zip(states, weights, strict=True))
    both = len({state.config.alpha for state in states}) == 1
    shape = AdapterConfig(
        alpha=first.config.alpha if both else 1.0, alphas=first.config.alphas if alike else {}
    )
    full = any(state.config.kind == "full" for state in states)
    whole: list[str] = []
    ranks: dict[str, int] = {}
    tensors: dict[str, Tensor] = {}
    grown: dict[str, list[str]] = {}
    for name in TABLES:
        grown[name], tensors[f"{name}.grown"] = _grown(pairs, name)
        rows = tensors[f"{name}.rows"] = _union([state.rows(name) for state in states])
        if any(f"{name}.d" in state.tensors for state in states):
            tensors[f"{name}.d"] = _full_rows(pairs, name, rows)
            whole += [] if full else [name]
            continue
        if asked := sum(state.config.ranks.get(name, 0) for state in states):
            ranks[name] = min(asked, first.dim)
        if (factors := _row_factors(pairs, name, rows, shape.alpha_of(name))) is not None:
            ranks[name] = factors.rank
            tensors |= _stored(name, factors)
    for name in sorted({name for state in states for name in state.linear_targets}):
        if any(name in state.config.whole for state in states):
            whole.append(name)
            tensors |= _whole_layer(pairs, name)
        elif (factors := _layer_factors(pairs, name, shape.alpha_of(name))) is not None:
            ranks[name] = factors.rank
            tensors |= _stored(name, factors)
    config = AdapterConfig(
        kind="full" if full else "lora",
        ranks=ranks,
        whole=tuple(whole),
        bias=any(state.config.bias for state in states),
        alpha=shape.alpha,
        alphas=shape.alphas,
        seed=first.config.seed,
    )
    return replace(
        first,
        config=config,
        tensors=tensors | _bias(pairs, grown["items"]),
        scales=_scales(config),
        grown=grown,
        domain=domain or first.domain,
    )


def truncate(
    state: AdapterState, rank: int | Mapping[str, int]
) -> tuple[AdapterState, dict[str, float]]:
    """The nearest adapter whose every target has at most a rank, by `products.truncated`.

    Nearest for each table's delta over the touched rows, for the transform and for layers, in the
    Frobenius norm. Targets of that rank or below stay as they are, to the bit, and so do bias,
    grown rows and the whole layers of an adapter. Full rows become factors. The right factors get
    the length that they have in a fresh adapter, so that training may go on.

    Args:
        state: Of any kind.
        rank: r, 1 to d; or target → r, and a target that is not named stays as it is.

    Returns:
        The adapter, and for each ranked target the share of its squared norm that is kept.

    Raises:
        ConfigError: The rank is out of range, no target is above it, or it is full fine-tuning of
            layers.
    """
    for asked in [rank] if isinstance(rank, int) else rank.values():
        check_rank(asked, state)

    layers = [name for name in state.config.whole if name not in TABLES]
    stays = layers if state.config.kind == "lora" else []

    def meant(name: str) -> bool:
        return name not in stays if isinstance(rank, int) else name in rank

    whole = (*state.config.whole, *(TABLES if state.config.kind == "full" else ()))
    if layers := [name for name in layers if meant(name)]:
        raise ConfigError(
            f"The layers {', '.join(layers)} are trained whole, with constants that "
            f"factors do not hold. Expected an adapter of factors, or full fine-tuning of a model "
            f"without layers."
        )

    def most(name: str) -> int:
        return rank if isinstance(rank, int) else rank[name]

    ranks, tensors = dict(state.config.ranks), dict(state.tensors)
    name: str
    kept: dict[str, float] = {}
    for name in (*RANKED, *state.config.ranked_layers):
        product = state.product(name)
        if not meant(name):
            kept |= {} if product is None else {name: 1.0}
            continue
        if (values := tensors.pop(f"{name}.d", None)) is not None:
            product = Product(values, torch.eye(state.dim))
        elif name in ranks and product is None:  # no row is touched: there is nothing but the rank
            ranks[name] = min(most(name), ranks[name])
        if product is None:
            continue
        kept[name] = 1.0
        if product.rank > most(name) or values is not None:
            scale = 1.0 if values is not None else state.scales[name]
            nearest, kept[name] = truncated(product, most(name))
            fresh = math.sqrt(state.dim) if name in TABLES else 1.0
            own = scale / fresh / _scale(state.config.alpha_of(name), max(nearest.rank, 1))
            factors = Product(nearest.left * own, nearest.right * fresh)
            ranks[name] = max(factors.rank, 1)
            tensors |= _stored(name, factors)
    if dict(state.config.ranks) == ranks and state.config.kind == "lora":
        raise ConfigError(
            f"Nothing of {state.config.describe()} is above rank {_shown(rank)}: truncated, it "
            f"would be the same adapter. Expected a rank below {max(ranks.values(), default=1)}."
        )
    whole = tuple(name for name in whole if not meant(name))
    config = state.config.model_copy(update={"kind": "lora", "ranks": ranks, "whole": whole})
    for name in TABLES:  # without touched rows a table stores no factors
        if not len(tensors[f"{name}.rows"]):
            for part in FACTORS[name]:
                tensors.pop(f"{name}.{part}", None)
    return replace(state, config=config, tensors=tensors, scales=_scales(config)), kept


def _shown(rank: int | Mapping[str, int]) -> str:
    if isinstance(rank, int):
        return str(rank)
    return ",".join(f"{name}:{value}" for name, value in rank.items())


def check_rank(rank: int, state: AdapterState) -> None:
    """Refuse a rank that no target can have.

    Raises:
        ConfigError: It is below 1, or above d and any rank of a layer.
    """
    largest = max([state.dim, *state.config.ranks.values()])
    if not 1 <= rank <= largest:
        raise ConfigError(
            f"Rank {rank} is out of range. Expected 1 to {largest}, and below the adapter's own: "
            f"{state.config.describe()}."
        )


Pairs = Sequence[tuple[AdapterState, float]]


def _check_weights(states: Sequence[AdapterState], weights: Sequence[float]) -> None:
    if not states or len(weights) != len(states):
        raise ConfigError(
            f"There are {len(states)} adapters and {len(weights)} weights. Expected a weight for "
            f"each, such as --weights {','.join(['.5'] * max(len(states), 2))}"
        )
    wrong = [weight for weight in weights if not math.isfinite(weight) or weight == 0]
    if wrong:
        raise ConfigError(
            f"A weight is {wrong[0]:g}. Expected finite ones that are not 0; leave an adapter out "
            f"where it is to have no part."
        )


def _scale(alpha: float, rank: int) -> float:
    return alpha / math.sqrt(rank)


def _scales(config: AdapterConfig) -> dict[str, float]:
    """s of each target that has factors; full rows have none."""
    return {name: config.scale(name) for name in config.ranks}


def _all_alphas(config: AdapterConfig) -> tuple[object, ...]:
    return config.alpha, *sorted(config.alphas.items())


def with_one_alpha(state: AdapterState) -> AdapterState:
    """The same adapter with one alpha for all targets: what others had of their own is in the left
    factors, exactly but for rounding."""
    config = state.config
    if not config.alphas:
        return state
    tensors = dict(state.tensors)
    for name, own in config.alphas.items():
        part = f"{name}.{FACTORS.get(name, OF_LAYER)[0]}"
        if part in tensors:
            tensors[part] = tensors[part] * (own / config.alpha)
    config = config.model_copy(update={"alphas": {}})
    return replace(state, config=config, tensors=tensors, scales=_scales(config))


def _stored(name: str, factors: Product) -> dict[str, Tensor]:
    left, right = FACTORS.get(name, OF_LAYER)
    return {f"{name}.{left}": factors.left.float(), f"{name}.{right}": factors.right.float()}


def _union(rows: Sequence[Tensor]) -> Tensor:
    distinct: Tensor = torch.unique(torch.cat(list(rows)))
    return distinct


def _row_factors(pairs: Pairs, name: str, rows: Tensor, alpha: float) -> Product | None:
    """Factors of the sum over the union of the rows; a row that k does not touch is 0 there."""
    there = [(s, w, p) for s, w in pairs if (p := s.product(name)) is not None]
    if not there:
        return None
    rank = sum(product.rank for _, _, product in there)
    scale = _scale(alpha, rank)
    left = torch.zeros(len(rows), rank, dtype=torch.float64)
    end = 0
    for state, weight, product in there:
        begin, end = end, end + product.rank
        place = torch.searchsorted(rows, state.rows(name))
        left[place, begin:end] = product.left.double() * (weight * state.scales[name] / scale)
    whole = Product(left, torch.cat([product.right for _, _, product in there]))
    return _at_most(whole, there[0][0].dim, alpha)


def _layer_factors(pairs: Pairs, name: str, alpha: float) -> Product | None:
    """Factors of the sum of what a layer or the transform is moved by."""
    there = [(s, w, p) for s, w in pairs if (p := s.product(name)) is not None]
    if not there:
        return None
    scale = _scale(alpha, sum(product.rank for _, _, product in there))
    parts = [Product(p.left.double() * (w * s.scales[name] / scale), p.right) for s, w, p in there]
    whole = stacked(parts)
    return _at_most(whole, min(len(whole.left), whole.right.shape[1]), alpha)


def _whole_layer(pairs: Pairs, name: str) -> dict[str, Tensor]:
    """D and, where any has one, the constant's e of a layer that one of them has whole."""
    found: dict[str, Tensor] = {}
    for state, weight in pairs:
        if (moved := state.linear(name)) is not None:
            part = weight * (moved.left.double() @ moved.right.double())
            part = part.T if name == "transform" else part
            found[f"{name}.d"] = found[f"{name}.d"] + part if f"{name}.d" in found else part
        if (constant := state.tensors.get(f"{name}.e")) is not None:
            part = weight * constant.double()
            found[f"{name}.e"] = found[f"{name}.e"] + part if f"{name}.e" in found else part
    return {key: values.float().contiguous() for key, values in found.items()}


def _at_most(product: Product, largest: int, alpha: float) -> Product:
    """The same matrix, of a rank that it can have; the scale is that of its new rank."""
    if product.rank <= largest:
        return product
    nearest, _ = truncated(product, largest)
    change = _scale(alpha, product.rank) / _scale(alpha, nearest.rank)
    return Product(nearest.left * change, nearest.right)


def _full_rows(pairs: Pairs, name: str, rows: Tensor) -> Tensor:
    total = torch.zeros(len(rows), pairs[0][0].dim)
    for state, weight in pairs:
        place = torch.searchsorted(rows, state.rows(name))
        for start in range(0, len(place), BLOCK):
            slots = torch.arange(start, min(start + BLOCK, len(place)))
            total[place[slots]] += weight * state.delta(name, slots)
    return total


def _grown(pairs: Pairs, name: str) -> tuple[list[str], Tensor]:
    """Ids that any has grown, in the order of first appearance, and their mean vectors."""
    ids = Vocabulary()
    for state, _ in pairs:
        ids = ids.extend(state.grown[name])
    total = torch.zeros(len(ids), pairs[0][0].dim, dtype=torch.float64)
    weight_of = torch.zeros(len(ids), 1, dtype=torch.float64)
    places = [torch.from_numpy(ids.rows(state.grown[name])) for state, _ in pairs]
    for (_, weight), place in zip(pairs, places, strict=True):
        weight_of[place] += abs(weight)
    for (state, weight), place in zip(pairs, places, strict=True):
        # The share first: of an id that one alone has grown it is 1, to the bit.
        total[place] += abs(weight) / weight_of[place] * state.tensors[f"{name}.grown"].double()
    return [str(text) for text in ids.ids], total.float()


def _bias(pairs: Pairs, grown: list[str]) -> dict[str, Tensor]:
    """The bias of the sum; an item without a β in k has k's constant, so the sum is exact."""
    if not any("bias.rows" in state.tensors for state, _ in pairs):
        return {}
    place_of = Vocabulary(grown)
    rows = _union([state.bias_rows(place_of) for state, _ in pairs])
    total = torch.zeros(len(rows), dtype=torch.float64)
    cold = torch.zeros(1, dtype=torch.float64)
    for state, weight in pairs:
        if len(state.rows("bias")):  # without any, its constant is asked by no item
            total += weight * state.bias(rows, place_of)
            cold += weight * state.tensors["bias.cold"].double()
    return {"bias.rows": rows, "bias.b": total.unsqueeze(1).float(), "bias.cold": cold.float()}
