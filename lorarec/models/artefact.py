"""A base on disk: `base.safetensors`, `base.json` and the two vocabularies, checked when loaded."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from lorarec.data.features.artefact import load_encoder, save_encoder
from lorarec.data.features.encoder import FeatureEncoder
from lorarec.data.source import DataSource
from lorarec.data.splits import SplitRecord
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import ArtifactError
from lorarec.models.base import BaseModel
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.models.origin import Merged, Origin
from lorarec.models.rebuilding import rebuilt
from lorarec.models.two_tower import TowerConfig, TwoTower
from lorarec.record import FORMAT, Record, load_record, save_record
from lorarec.storage import read_tensors, sha256_bytes, write_tensors

WEIGHTS = "base.safetensors"
Side = Literal["users", "items"]
FOLDERS: dict[Side, str] = {"users": "user_features", "items": "item_features"}
"""Where the encoders are, in a base's folder."""
ROWS, VALUES = "domain_bias.rows.", "domain_bias.values."
"""Before a domain's name in base.safetensors."""


class FeaturesInfo(Record):
    """The side features of users or items that a base has."""

    path: str
    """The table they were read from, absolute; later commands do not read it."""
    digest: str
    """Of the encoder, in the folder `user_features` or `item_features`."""
    described: int = Field(ge=0)
    """Ids that the table has and no train row: they have features and no vector."""
    vocabulary: str
    """Digest of those ids, in described_users.parquet or described_items.parquet."""


class BaseInfo(Record):
    """All that is known of a base besides its numbers."""

    format_version: int = FORMAT
    model: Literal["mf", "two-tower"] = "mf"
    dim: int = Field(ge=1)
    similarity: Literal["cosine", "dot"]
    temperature: float = Field(gt=0)
    bias: bool
    """Whether items have a bias."""
    digest: str
    """SHA-256 of the weights as trained and of how they score; appended rows are outside of it."""
    weights_digest: str
    """SHA-256 of base.safetensors."""
    users: int
    """Users that were trained: the first rows of the vocabulary, which may have gained others."""
    items: int
    """Items that were trained, the same."""
    user_vocabulary: str
    """Digest of those rows of the user vocabulary."""
    item_vocabulary: str
    """Digest of those rows of the item vocabulary."""
    domains: list[str]
    """Domains it was trained on."""
    excluded_domains: list[str]
    """Domains kept out of training, validation and vocabularies."""
    tower: TowerConfig | None = None
    """The shape of two towers; None for matrix factorization."""
    features: dict[Literal["users", "items"], FeaturesInfo] = Field(default_factory=dict)
    """Side features, of which the towers were trained on."""
    data: DataSource
    """The logs."""
    split: SplitRecord
    """The split, shared by every adapter on this base."""
    seed: int
    metrics: dict[str, float]
    """Validation metrics of the kept epoch."""
    versions: dict[str, str]
    """Of the libraries that made it."""
    origin: Origin | None = None
    """Where an imported base comes from; None for one that was trained here."""
    merged: Merged | None = None
    """What a base was merged from; None for one without an adapter in it."""
    forgotten_from: str | None = None
    """Digest of the base that this one is, but for ids that were forgotten; None of any other."""
    later: ClassVar[frozenset[str]] = frozenset({"merged", "forgotten_from"})


@dataclass(frozen=True, eq=False)
class DomainBiases:
    """Item biases of one domain, relative to the base's."""

    rows: np.ndarray[Any, Any]
    """int64 (n,), sorted: item rows of the domain's train rows."""
    values: np.ndarray[Any, Any]
    """float32 (n,)."""


@dataclass(frozen=True, eq=False)
class SideFeatures:
    """How features of users or items became numbers, and who has features alone."""

    encoder: FeatureEncoder
    described: Vocabulary
    """Ids without a train row. Row k of these is place n + k among the features, where n rows of
    the base were trained."""


@dataclass(frozen=True, eq=False)
class Base:
    """A trained base model with the vocabularies of its rows."""

    model: MatrixFactorization | TwoTower
    users: Vocabulary
    items: Vocabulary
    info: BaseInfo
    domain_bias: dict[str, DomainBiases] = field(default_factory=dict)
    """What pretraining learnt of each domain's popularity beyond the shared bias. The base does not
    score with it: it is where an adapter's own bias begins to train."""
    features: dict[Side, SideFeatures] = field(default_factory=dict)
    """Of `users` and `items`, where the towers have them."""

    @property
    def digest(self) -> str:
        """What an adapter is bound to."""
        return self.info.digest


def weights_of(model: BaseModel) -> dict[str, np.ndarray[Any, Any]]:
    """The numbers of a plain base as arrays on the CPU."""
    return {
        name: np.ascontiguousarray(tensor.cpu().numpy()) for name, tensor in model.tensors().items()
    }


def weights_digest(model: BaseModel, users: int | None = None, items: int | None = None) -> str:
    """SHA-256 of how the model scores and of every number that it scores with.

    Args:
        model: A plain base.
        users: Rows of the users' table to cover; None covers all. Rows behind them were appended:
            no other number depends on them.
        items: Rows of the items' table and bias, the same.
    """
    covered = {"users": users, "items": items, "bias": items}
    parts = [model.scoring().encode()]
    for name, whole in sorted(weights_of(model).items()):
        array = whole[: covered.get(name)]
        parts += [name.encode(), repr(array.shape).encode(), array.tobytes()]
    return sha256_bytes(*parts)


def save_base(base: Base, folder: Path) -> None:
    """Write a base into an existing folder; the folder's maker renames it into place."""
    tensors = weights_of(base.model)
    for name, biases in base.domain_bias.items():
        tensors |= {f"{ROWS}{name}": biases.rows, f"{VALUES}{name}": biases.values}
    found = write_tensors(folder / WEIGHTS, tensors)
    base.users.save(folder / "users.parquet")
    base.items.save(folder / "items.parquet")
    for side, features in base.features.items():
        save_encoder(features.encoder, folder / FOLDERS[side])
        features.described.save(folder / f"described_{side}.parquet")
    save_record(folder / "base.json", base.info.model_copy(update={"weights_digest": found}))


def load_base(folder: Path, weights: Mapping[str, np.ndarray[Any, Any]] | None = None) -> Base:
    """Read a base and check everything it claims of itself.

    Args:
        folder: Where it is.
        weights: What its base.safetensors holds, where that is in memory already, as by
            `mapped_weights`: the base then shares that memory and does not write to it.

    Raises:
        ArtifactError: A file is missing, truncated, edited, or of a newer format.
    """
    info = load_record(folder / "base.json", BaseInfo)
    tensors = dict(weights or read_tensors(folder / WEIGHTS, info.weights_digest))
    domain_bias = {
        name.removeprefix(ROWS): DomainBiases(
            tensors.pop(name), tensors.pop(name.replace(ROWS, VALUES, 1), np.empty(0, np.float32))
        )
        for name in sorted(tensors)
        if name.startswith(ROWS)
    }
    users = _vocabulary(folder / "users.parquet", info.users, info.user_vocabulary)
    items = _vocabulary(folder / "items.parquet", info.items, info.item_vocabulary)
    shapes = {"users": (len(users), info.dim), "items": (len(items), info.dim)}
    if info.bias:
        shapes["bias"] = (len(items), 1)
    found = {
        name: array.shape for name, array in tensors.items() if name in shapes or info.tower is None
    }
    if found != shapes or not all(_finite(array) for array in tensors.values()):
        raise ArtifactError(
            f"{folder / 'base.safetensors'} holds {found}. Expected finite numbers of the shapes "
            f"{shapes}. It does not belong to its base.json; get the base again."
        )
    features = {side: _load_features(folder, side, info) for side in info.features}
    model = model_of(folder, info, tensors, features).requires_grad_(False)
    if (digest := weights_digest(model, info.users, info.items)) != info.digest:
        raise ArtifactError(
            f"The base in {folder} has digest {digest[:12]}, base.json says {info.digest[:12]}. "
            f"One of them was edited; get the base again."
        )
    return Base(model, users, items, info, domain_bias, features)


def mapped_weights(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The numbers of a base where they lie on disk: processes that map them share one memory.

    Raises:
        ArtifactError: There is no such file, or it is no safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return {name: tensor.numpy() for name, tensor in load_file(folder / WEIGHTS).items()}
    except (SafetensorError, OSError) as error:
        raise ArtifactError(
            f"{folder / WEIGHTS} is not a whole safetensors file ({error}). Get the artefact again."
        ) from error


def _load_features(folder: Path, side: Side, info: BaseInfo) -> SideFeatures:
    known = info.features[side]
    described = Vocabulary.load(folder / f"described_{side}.parquet", known.vocabulary)
    return SideFeatures(load_encoder(folder / FOLDERS[side], known.digest), described)


def model_of(
    folder: Path,
    info: BaseInfo,
    tensors: dict[str, np.ndarray[Any, Any]],
    features: dict[Side, SideFeatures],
) -> MatrixFactorization | TwoTower:
    """The model whose `weights_of` these are.

    Args:
        folder: Of the base, for what is said where they do not fit.
        info: Says their shape.
        tensors: By name.
        features: Of `users` and `items`, where the towers have them.

    Raises:
        ArtifactError: They do not fit.
    """
    if info.tower is None:
        return MatrixFactorization.from_tables(
            torch.from_numpy(tensors["users"]),
            torch.from_numpy(tensors["items"]),
            info.similarity,
            info.temperature,
            torch.from_numpy(tensors["bias"]) if info.bias else None,
        )
    counts = {"users": info.users, "items": info.items}
    try:
        return rebuilt(
            tensors,
            info.similarity,
            info.temperature,
            info.tower,
            {side: found.encoder for side, found in features.items()},
            {side: counts[side] + len(found.described) + 1 for side, found in features.items()},
            counts,
        )
    except ValueError as error:
        raise ArtifactError(
            f"{folder / 'base.safetensors'} does not belong to its base.json: {error}. It was "
            f"edited; get the base again."
        ) from error


def _finite(array: np.ndarray[Any, Any]) -> bool:
    return not np.issubdtype(array.dtype, np.floating) or bool(np.isfinite(array).all())


def _vocabulary(path: Path, trained: int, digest: str) -> Vocabulary:
    """The ids of a base: those that were trained, and maybe others behind them."""
    vocabulary = Vocabulary.load(path)
    found = vocabulary.digest(min(trained, len(vocabulary)))
    if len(vocabulary) < trained or found != digest:
        raise ArtifactError(
            f"{path} has {len(vocabulary):,} ids that begin with the digest {found[:12]}, expected "
            f"{trained:,} with {digest[:12]} and maybe others behind them. It was truncated or "
            f"edited; get the artefact again."
        )
    return vocabulary


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that shape a result."""
    found = {"python": platform.python_version()}
    for name in ("lorarec", "torch", "numpy", "polars", "faiss-cpu", "safetensors"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
