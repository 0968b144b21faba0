"""What one column means as a feature, and how it is encoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lorarec.errors import ConfigError

Kind = Literal["categorical", "categories", "numeric", "vector"]

COUNTED: tuple[Kind, ...] = ("categorical", "categories")
"""The kinds whose values are categories, each with a row in an embedding table."""

_OPTIONS: dict[str, tuple[Kind, ...]] = {
    "min_count": COUNTED,
    "max_categories": COUNTED,
    "log1p": ("numeric",),
    "clip": ("numeric",),
    "dim": ("vector",),
    "normalise": ("vector",),
}


class FeatureSpec(BaseModel):
    """One feature: the column of that name, its kind, and the options of that kind."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    name: str = Field(min_length=1)
    """The column."""

    kind: Kind
    """One category, a list of categories, a number, or a dense vector of a fixed length."""

    min_count: int = Field(default=2, ge=1)
    """Categories in fewer train rows than this share the unknown row. At 1 no train row has an
    unknown category, so the unknown row learns nothing but what missing values teach it."""

    max_categories: int | None = Field(default=None, ge=1)
    """At most this many categories, the most frequent in train. None keeps all."""

    log1p: bool = False
    """Take sign(x) · log(1 + |x|) before standardising, for counts and prices with a long tail."""

    clip: float = Field(default=10.0, gt=0, le=1e6)
    """Standardised numbers beyond ± this many standard deviations are moved to it."""

    dim: int | None = Field(default=None, ge=1)
    """Numbers in each vector."""

    normalise: bool = True
    """Scale each vector to Euclidean norm 1; a vector of zeros stays as it is."""

    @model_validator(mode="after")
    def _options_are_of_the_kind(self) -> Self:
        for option, kinds in _OPTIONS.items():
            default = type(self).model_fields[option].default
            if self.kind not in kinds and getattr(self, option) != default:
                raise ValueError(f"{option} is of {' and '.join(kinds)}, not of {self.kind}")
        if self.kind == "vector" and self.dim is None:
            raise ValueError("a vector needs dim, the numbers in each")
        return self


def refuse_repeats(specs: Sequence[FeatureSpec]) -> None:
    """Every column is at most one feature.

    Raises:
        ConfigError: Two specs name the same column.
    """
    names = [spec.name for spec in specs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(
            f"{len(repeated)} features are named twice: {', '.join(map(repr, repeated[:5]))}. "
            f"Expected one spec for each column."
        )
