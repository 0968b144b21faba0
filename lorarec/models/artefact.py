"""A base on disk: `base.safetensors`, `base.json` and the two vocabularies, checked when loaded."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field

from lorarec.data.source import DataSource
from lorarec.data.splits import SplitRecord
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import ArtifactError
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.models.origin import Origin
from lorarec.record import FORMAT, Record, load_record, save_record
from lorarec.storage import read_tensors, sha256_bytes, write_tensors

ROWS, VALUES = "domain_bias.rows.", "domain_bias.values."
"""Before a domain's name in base.safetensors."""


class BaseInfo(Record):
    """All that is known of a base besides its numbers."""

    format_version: int = FORMAT
    model: Literal["mf"] = "mf"
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


@dataclass(frozen=True, eq=False)
class DomainBiases:
    """Item biases of one domain, relative to the base's."""

    rows: np.ndarray[Any, Any]
    """int64 (n,), sorted: item rows of the domain's train rows."""
    values: np.ndarray[Any, Any]
    """float32 (n,)."""


@dataclass(frozen=True, eq=False)
class Base:
    """A trained base model with the vocabularies of its rows."""

    model: MatrixFactorization
    users: Vocabulary
    items: Vocabulary
    info: BaseInfo
    domain_bias: dict[str, DomainBiases] = field(default_factory=dict)
    """What pretraining learnt of each domain's popularity beyond the shared bias. The base does not
    score with it: it is where an adapter's own bias begins to train."""

    @property
    def digest(self) -> str:
        """What an adapter is bound to."""
        return self.info.digest


def weights_of(model: MatrixFactorization) -> dict[str, np.ndarray[Any, Any]]:
    """The tables of a plain base as float32 arrays on the CPU."""
    return {
        name: np.ascontiguousarray(table.cpu().numpy()) for name, table in model.tables().items()
    }


def weights_digest(
    model: MatrixFactorization, users: int | None = None, items: int | None = None
) -> str:
    """SHA-256 of how the model scores and of every number in its tables.

    Args:
        model: A plain base.
        users: Rows of the users' table to cover; None covers all.
        items: Rows of the items' tables, the same.
    """
    parts = [f"{model.similarity} {model.temperature!r}".encode()]
    for name, whole in sorted(weights_of(model).items()):
        array = whole[: users if name == "users" else items]
        parts += [name.encode(), repr(array.shape).encode(), array.tobytes()]
    return sha256_bytes(*parts)


def save_base(base: Base, folder: Path) -> None:
    """Write a base into an existing folder; the folder's maker renames it into place."""
    tensors = weights_of(base.model)
    for name, biases in base.domain_bias.items():
        tensors |= {f"{ROWS}{name}": biases.rows, f"{VALUES}{name}": biases.values}
    found = write_tensors(folder / "base.safetensors", tensors)
    base.users.save(folder / "users.parquet")
    base.items.save(folder / "items.parquet")
    save_record(folder / "base.json", base.info.model_copy(update={"weights_digest": found}))


def load_base(folder: Path) -> Base:
    """Read a base and check everything it claims of itself.

    Raises:
        ArtifactError: A file is missing, truncated, edited, or of a newer format.
    """
    info = load_record(folder / "base.json", BaseInfo)
    tensors = read_tensors(folder / "base.safetensors", info.weights_digest)
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
    found = {name: array.shape for name, array in tensors.items()}
    if found != shapes or not all(np.isfinite(array).all() for array in tensors.values()):
        raise ArtifactError(
            f"{folder / 'base.safetensors'} holds {found}. Expected finite numbers of the shapes "
            f"{shapes}. It does not belong to its base.json; get the base again."
        )
    model = MatrixFactorization.from_tables(
        torch.from_numpy(tensors["users"]),
        torch.from_numpy(tensors["items"]),
        info.similarity,
        info.temperature,
        torch.from_numpy(tensors["bias"]) if info.bias else None,
    ).requires_grad_(False)
    if (digest := weights_digest(model, info.users, info.items)) != info.digest:
        raise ArtifactError(
            f"The base in {folder} has digest {digest[:12]}, base.json says {info.digest[:12]}. "
            f"One of them was edited; get the base again."
        )
    return Base(model, users, items, info, domain_bias)


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
