"""What a FAISS factory string asks for: read, chosen by size, and built."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from lorarec.errors import ConfigError
from lorarec.retrieval.space import Space
from lorarec.retrieval.vectors import Floats

EXACT = "Flat"
"""No approximation: `ExactIndex`."""
AUTO = "auto"
_REFINE = re.compile(r",(RFlat|Refine\(Flat\))$")
_CODES = re.compile(r"(?:^|,|_|\()(?:PQ|SQ|ITQ|LSH|RQ|LSQ|OPQ)")
_GRAPH = re.compile(r"(?:^|,)(?:HNSW|NSG)")
_PARTS = re.compile(r"PQ(\d+)")
# Below this many items, exact search answers hundreds of users in a second on one core.
_EXACT_BELOW = 50_000
_CODES_ABOVE = 5_000_000


@dataclass(frozen=True)
class Factory:
    """A factory string, understood."""

    text: str
    """As FAISS takes it, without a refining stage: what was found is always rescored exactly."""
    compressed: bool
    """Whether vectors are stored as codes, so that more candidates have to be rescored."""
    graph: bool
    """Whether neighbours are found along a graph, which needs a distance (see `Space`)."""
    parts: int
    """What the dimension has to be a multiple of: parts of a product quantizer."""

    @classmethod
    def of(cls, text: str) -> Factory:
        """Read a factory string such as `HNSW32`, `IVF1024,Flat` or `IVF1024,PQ32x4fs,RFlat`.

        Raises:
            ConfigError: It is empty, or asks for ids of its own.
        """
        plain = _REFINE.sub("", text.strip())
        if not plain or "IDMap" in plain:
            raise ConfigError(
                f"The index {text!r} is no factory string that can be built. Expected auto, Flat, "
                f"HNSW32, IVF1024,Flat, IVF1024,PQ32x4fs,RFlat or another of FAISS."
            )
        parts = [int(found) for found in _PARTS.findall(plain)]
        codes, graph = bool(_CODES.search(plain)), bool(_GRAPH.search(plain))
        return cls(plain, codes, graph, max(parts, default=1))


def chosen_factory(items: int, dim: int, target: float) -> str:
    """The factory string that `auto` stands for.

    Exact search up to 50,000 items, or where recall 1 is asked for; then lists of whole vectors,
    4·√n of them; past five million items, codes of 4 bits for two dimensions.

    Args:
        items: n.
        dim: d.
        target: Recall against exact search that is wanted, above 0 and at most 1.

    Raises:
        ConfigError: The target is no share.
    """
    if not 0 < target <= 1:
        raise ConfigError(f"The recall target is {target}. Expected a share, such as 0.98.")
    if items < _EXACT_BELOW or target == 1:
        return EXACT
    lists = 1 << round(2 + items.bit_length() / 2)
    if items <= _CODES_ABOVE:
        return f"IVF{lists},Flat"
    return f"IVF{lists},PQ{max(1, dim // 2)}x4fs,RFlat"


def built(factory: Factory, vectors: Floats, space: Space) -> Any:
    """An index of FAISS, trained on these vectors and holding them.

    Args:
        factory: What is asked for.
        vectors: float32 (n, w).
        space: How they are put into it.

    Raises:
        ConfigError: FAISS does not know the string, or has too few vectors to train it.
    """
    from lorarec.retrieval.index import tuned_faiss

    faiss = tuned_faiss()
    placed = space.items(vectors)
    metric = faiss.METRIC_L2 if space.lifted else faiss.METRIC_INNER_PRODUCT
    try:
        index = faiss.index_factory(space.width, factory.text, metric)
        if not index.is_trained:
            index.train(placed)
        index.add(placed)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].split("Error: ")[-1]
        raise ConfigError(
            f"FAISS cannot build {factory.text!r} over {len(vectors):,} vectors of dimension "
            f"{space.width}: {reason}. Expected a factory string it knows and enough vectors to "
            f"train it, such as HNSW32; auto chooses by size."
        ) from error
    return index


def effort_of(index: Any) -> tuple[str | None, int]:
    """The parameter that trades speed for recall, and the largest value that makes sense.

    Returns:
        `nprobe` and the number of lists, `efSearch` and 4096, or None and 1.
    """
    import faiss

    lists = faiss.try_extract_index_ivf(index)
    if lists is not None:
        return "nprobe", int(lists.nlist)
    inner = faiss.downcast_index(index)
    while isinstance(inner, faiss.IndexPreTransform):
        inner = faiss.downcast_index(inner.index)
    return ("efSearch", 4096) if isinstance(inner, faiss.IndexHNSW) else (None, 1)
