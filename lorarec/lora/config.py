"""What an adapter adapts: targets and their ranks, as asked for and as recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from lorarec.errors import ConfigError, did_you_mean

Kind = Literal["lora", "full"]
Target = Literal["users", "items", "transform", "bias"]
TARGETS: tuple[Target, ...] = get_args(Target)
RANKED: tuple[Target, ...] = ("users", "items", "transform")
"""Targets of every base that have a rank; `bias` has none."""
WHOLE = "full"
"""In place of a rank: values of their own for the rows of a table, or for a layer."""
Rank = int | Literal["full"] | None
_LAYER = r"(user|item)_tower\.\w+(\.\w+)*"
MIXED = "mixed"
"""Recorded as the rank where targets have different ones; the run's param `targets` has each."""


class AdapterConfig(BaseModel):
    """The shape of an adapter. All of it is in the artefact: loading depends on no default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind = "lora"
    """`lora`: low-rank deltas; `full`: full deltas of the same rows, the comparison arm."""
    ranks: dict[
        Annotated[str, Field(pattern=f"^(users|items|transform|{_LAYER})$")], PositiveInt
    ] = Field(default_factory=dict)
    """Target → rank r, for `users`, `items`, `transform` and linear layers of two towers such as
    `item_tower.layers.0`: from 1 to d, or to the smaller side of the layer."""
    whole: tuple[Annotated[str, Field(pattern=f"^(users|items|transform|{_LAYER})$")], ...] = ()
    """Targets that have values of their own in place of factors. Of `full`, whose rows are so
    anyway, linear layers; of `lora`, what factors would not save anything on."""
    bias: bool = True
    """Whether the domain has an item bias."""
    alpha: float = Field(default=1.0, gt=0)
    """Scale of a low-rank delta: s = alpha / √r."""
    alphas: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        default_factory=dict
    )
    """Target → an alpha of its own, where it has one."""
    seed: int = 0
    """Of the initial values of the factors that do not start at zero."""

    def describe(self) -> str:
        """The targets as `--targets` would name them, such as `users:8,items:8,bias`."""
        # A record on disk has its keys sorted; the order here is always the same.
        targets = [target for target in RANKED if target in self.ranks]
        named = [
            f"{target}:{self.ranks[target]}"
            + (f":{self.alphas[target]:g}" if target in self.alphas else "")
            for target in (*targets, *self.ranked_layers)
        ]
        if self.kind == "full":
            named = ["users", "items", *self.whole, *named]  # a sum may have a transform besides
        else:
            named = [*(f"{target}:{WHOLE}" for target in self.whole), *named]
        return ",".join([*named, "bias"] if self.bias else named)

    def alpha_of(self, target: str) -> float:
        """Alpha of a target with factors: its own, or that of all."""
        return self.alphas.get(target, self.alpha)

    def scale(self, target: str) -> float:
        """s = alpha / √r of a target with factors."""
        return self.alpha_of(target) / math.sqrt(self.ranks[target])

    @property
    def ranked_layers(self) -> list[str]:
        """Linear layers of towers that have a rank, by name."""
        return sorted(set(self.ranks) - set(RANKED))


def recorded_rank(config: AdapterConfig) -> int | str | None:
    """The rank that a run is recorded with.

    Returns:
        The rank that all ranked targets share, `mixed` where they differ, None where none has one,
        as for `bias` alone and for full fine-tuning. Values in place of factors are another rank.
    """
    different = set(config.ranks.values())
    if len(different) > 1 or (different and config.whole):
        return MIXED
    return next(iter(different), None)


def lora_config(
    rank: int,
    dim: int,
    targets: str | None = None,
    alpha: float = 1.0,
    seed: int = 0,
    layers: Mapping[str, int] = MappingProxyType({}),
) -> AdapterConfig:
    """The adapter that `--rank` and `--targets` ask for.

    Args:
        rank: r of every target that does not name its own.
        dim: d of the base.
        targets: Such as `items:8,users:4,transform,bias`; None is all four. A rank named there
            wins over `rank`, and `full` in its place asks for values of their own in place of
            factors. A number behind it, such as `items:8:2`, is an alpha of the target's own, and
            `items::2` has one without a rank. Layers of towers are named as `layers` has them, or
            by a pattern such as `item_tower.*`; without a rank of its own a layer that is smaller
            takes its largest.
        alpha: Scale.
        seed: Of the initial factors.
        layers: Linear layers of the base's towers, each with its largest rank.

    Raises:
        ConfigError: A rank is below 1 or above the largest, or a target is unknown, named twice, or
            empty.
    """
    offered = (*TARGETS, *layers)
    parsed: dict[str, Rank] = (
        dict.fromkeys(TARGETS) if targets is None else parse_targets(targets, offered)
    )
    asked = {name: value for name, value in parsed.items() if not isinstance(value, str)}
    ranks: dict[str, int] = {name: asked[name] or rank for name in RANKED if name in asked}
    for name, value in ranks.items():
        if not 1 <= value <= dim:
            raise ConfigError(
                f"Rank {value} for {name} is out of range. Expected 1 to {dim}, the base's "
                f"dimension, such as --rank {min(8, dim)}."
            )
    for name in layers:
        if name not in asked:
            continue
        value, largest = asked[name] or min(rank, layers[name]), layers[name]
        if not 1 <= value <= largest:
            raise ConfigError(
                f"Rank {value} for {name} is out of range. Expected 1 to {largest}, the smaller "
                f"side of the layer, such as --targets {name}:{min(8, largest)}."
            )
        ranks[name] = value
    whole = tuple(name for name in offered if parsed.get(name) == WHOLE)
    return AdapterConfig(
        ranks=ranks,
        whole=whole,
        bias="bias" in asked,
        alpha=alpha,
        alphas=parse_alphas(targets or "", offered),
        seed=seed,
    )


def full_config(seed: int = 0, layers: Sequence[str] = ()) -> AdapterConfig:
    """Full fine-tuning of the rows that an adapter would touch, with the same domain bias.

    Args:
        seed: Of the record; nothing is drawn.
        layers: Linear layers that are trained whole too.
    """
    return AdapterConfig(kind="full", bias=True, seed=seed, whole=tuple(layers))


def parse_targets(text: str, offered: Sequence[str] = TARGETS) -> dict[str, Rank]:
    """`items:8,users:full,bias` as target → rank or `full`, None where nothing is named.

    A number behind the rank is an alpha, which `parse_alphas` reads.

    Args:
        text: Targets, or patterns of them with `*`, `?` and `[...]`.
        offered: All targets of the base.

    Raises:
        ConfigError: With what was found, what is expected and the nearest names.
    """
    example = "such as --targets items:8,users:4,transform:8,bias"
    found: dict[str, Rank] = {}
    for part in text.split(","):
        pattern, colon, rest = part.strip().partition(":")
        number, own, _ = rest.partition(":")
        names = [target for target in offered if fnmatchcase(target, pattern)]
        if not names:
            raise ConfigError(
                f"There is no target {pattern!r} in {text!r}.{did_you_mean(pattern, offered)} "
                f"Expected some of {', '.join(offered)}, {example}."
            )
        asked = number if colon and (number or not own) else None
        found |= _ranked(names, asked, text, found, example)
    return found


def parse_alphas(text: str, offered: Sequence[str] = TARGETS) -> dict[str, float]:
    """The alphas of `items:8:2,users::0.5,bias` by target; targets without one are left out.

    Args:
        text: As `parse_targets` takes it, which refuses all else that is wrong with it.
        offered: All targets of the base.

    Raises:
        ConfigError: One is no finite number above 0, or stands beside what has no factors.
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        pattern, _, rest = part.strip().partition(":")
        number, colon, own = rest.partition(":")
        if not colon:
            continue
        if number == WHOLE or pattern == "bias":
            raise ConfigError(
                f"{part.strip()!r} in {text!r} has an alpha, and no factors for it to scale. "
                f"Expected one behind a rank, such as items:8:2."
            )
        try:
            value = float(own)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise ConfigError(
                f"The alpha of {pattern!r} in {text!r} is {own!r}. Expected a number above 0 "
                f"behind the rank, such as items:8:2, or items::2 where --rank says it."
            )
        found |= {name: value for name in offered if fnmatchcase(name, pattern) and name != "bias"}
    return found


def _ranked(
    names: Sequence[str],
    number: str | None,
    text: str,
    before: Mapping[str, Rank],
    example: str,
) -> dict[str, Rank]:
    """The targets of one part of `--targets`, with its rank."""
    found: dict[str, Rank] = {}
    for name in names:
        if name in before:
            raise ConfigError(f"Target {name!r} stands twice in {text!r}. Expected it once.")
        if number is not None and name == "bias":
            raise ConfigError(f"The bias has no rank; {text!r} gives it one. Write {example}.")
        found[name] = _rank(name, number, text, example)
    return found


def _rank(name: str, number: str | None, text: str, example: str) -> Rank:
    if number is None:
        return None
    if number == WHOLE and name != "transform":
        return "full"
    try:
        value = int(number)
    except ValueError:
        raise ConfigError(
            f"The rank of {name!r} in {text!r} is {number!r}. Expected a whole number"
            f"{'' if name == 'transform' else f' or {WHOLE}'}, {example}."
        ) from None
    if value < 1:
        raise ConfigError(f"The rank of {name!r} is {number}. Expected 1 or more, {example}.")
    return value
