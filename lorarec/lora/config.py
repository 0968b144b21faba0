"""What an adapter adapts: targets and their ranks, as asked for and as recorded."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from lorarec.errors import ConfigError, did_you_mean

Kind = Literal["lora", "full"]
Target = Literal["users", "items", "transform", "bias"]
TARGETS: tuple[Target, ...] = get_args(Target)
RANKED: tuple[Target, ...] = ("users", "items", "transform")
"""Targets that have a rank; `bias` has none."""
MIXED = "mixed"
"""Recorded as the rank where targets have different ones; the run's param `targets` has each."""


class AdapterConfig(BaseModel):
    """The shape of an adapter. All of it is in the artefact: loading depends on no default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind = "lora"
    """`lora`: low-rank row deltas; `full`: full-d deltas of the same rows, the comparison arm."""
    ranks: dict[Annotated[str, Field(pattern="^(users|items|transform)$")], PositiveInt] = Field(
        default_factory=dict
    )
    """Target → rank r, 1 ≤ r ≤ d, for `users`, `items` and `transform`."""
    bias: bool = True
    """Whether the domain has an item bias."""
    alpha: float = Field(default=1.0, gt=0)
    """Scale of a low-rank delta: s = alpha / √r."""
    seed: int = 0
    """Of the initial values of the factors that do not start at zero."""

    def describe(self) -> str:
        """The targets as `--targets` would name them, such as `users:8,items:8,bias`."""
        # A record on disk has its keys sorted; the order here is always the same.
        named = [f"{target}:{self.ranks[target]}" for target in RANKED if target in self.ranks]
        if self.kind == "full":
            named = ["users", "items", *named]  # a sum may have a transform besides
        return ",".join([*named, "bias"] if self.bias else named)


def recorded_rank(config: AdapterConfig) -> int | str | None:
    """The rank that a run is recorded with.

    Returns:
        The rank that all ranked targets share, `mixed` where they differ, None where none has one,
        as for `bias` alone and for full fine-tuning.
    """
    different = set(config.ranks.values())
    if len(different) > 1:
        return MIXED
    return next(iter(different), None)


def lora_config(
    rank: int, dim: int, targets: str | None = None, alpha: float = 1.0, seed: int = 0
) -> AdapterConfig:
    """The adapter that `--rank` and `--targets` ask for.

    Args:
        rank: r of every target that does not name its own.
        dim: d of the base.
        targets: Such as `items:8,users:4,transform,bias`; None is all four. A rank named there
            wins over `rank`.
        alpha: Scale.
        seed: Of the initial factors.

    Raises:
        ConfigError: A rank is below 1 or above d, or a target is unknown, named twice, or empty.
    """
    asked = parse_targets(targets) if targets is not None else dict.fromkeys(TARGETS)
    ranks: dict[str, int] = {name: asked[name] or rank for name in RANKED if name in asked}
    for name, value in ranks.items():
        if not 1 <= value <= dim:
            raise ConfigError(
                f"Rank {value} for {name} is out of range. Expected 1 to {dim}, the base's "
                f"dimension, such as --rank {min(8, dim)}."
            )
    return AdapterConfig(ranks=ranks, bias="bias" in asked, alpha=alpha, seed=seed)


def full_config(seed: int = 0) -> AdapterConfig:
    """Full fine-tuning of the rows that an adapter would touch, with the same domain bias."""
    return AdapterConfig(kind="full", bias=True, seed=seed)


def parse_targets(text: str) -> dict[Target, int | None]:
    """`items:8,users:4,bias` as target → rank, None where no rank is named.

    Raises:
        ConfigError: With what was found, what is expected and the nearest names.
    """
    example = "such as --targets items:8,users:4,transform:8,bias"
    found: dict[Target, int | None] = {}
    for part in text.split(","):
        name, colon, number = part.strip().partition(":")
        if name not in TARGETS:
            raise ConfigError(
                f"There is no target {name!r} in {text!r}.{did_you_mean(name, TARGETS)} "
                f"Expected some of {', '.join(TARGETS)}, {example}."
            )
        if name in found:
            raise ConfigError(f"Target {name!r} stands twice in {text!r}. Expected it once.")
        if colon and name == "bias":
            raise ConfigError(f"The bias has no rank; {text!r} gives it one. Write {example}.")
        try:
            found[name] = int(number) if colon else None
        except ValueError:
            raise ConfigError(
                f"The rank of {name!r} in {text!r} is {number!r}. Expected a whole number, "
                f"{example}."
            ) from None
        if found[name] is not None and (found[name] or 0) < 1:
            raise ConfigError(f"The rank of {name!r} is {number}. Expected 1 or more, {example}.")
    return found
