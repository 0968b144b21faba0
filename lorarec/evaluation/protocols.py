"""Published protocols: what is ranked and measured, whose it is, and what was published on it.

The numbers stand in the places that `source` names. They are beside ours for comparison; where a
table was chosen on test rows, `caution` says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Lists = Literal["file", "drawn", "none"]


@dataclass(frozen=True)
class Protocol:
    """One published way to measure.

    Attributes:
        name: As `--protocol` takes it.
        citation: The paper or the benchmark.
        source: Where the published numbers were read.
        part: The part of the split that is measured.
        lists: Whether candidate lists come from a file, are drawn, or all items are ranked.
        metrics: Metric keys, the headline first.
        caution: What a reader has to know.
        published: By domain (`*` is any), by method, by metric key.
        negatives: How many are drawn.
    """

    name: str
    citation: str
    source: str
    part: str
    lists: Lists
    metrics: tuple[str, ...]
    caution: str
    published: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    negatives: int = 0


_MARKETS = ("de", "jp", "in", "fr", "ca", "mx", "uk")
_ECIR23 = {
    "GMF++": (0.2670, 0.1093, 0.2838, 0.2708, 0.2818, 0.5338, 0.4399),
    "MA-GMF++": (0.2831, 0.1453, 0.3338, 0.2654, 0.2907, 0.5145, 0.4336),
    "MLP++": (0.3170, 0.1865, 0.4470, 0.3016, 0.3100, 0.5455, 0.4585),
    "MA-MLP++": (0.3167, 0.1806, 0.4584, 0.3026, 0.3105, 0.5419, 0.4544),
    "NMF++": (0.3332, 0.1921, 0.4595, 0.3271, 0.3008, 0.5590, 0.4702),
    "MA-NMF++": (0.3415, 0.1896, 0.4433, 0.3228, 0.3158, 0.5573, 0.4578),
    "MAML": (0.3168, 0.2083, 0.4491, 0.3152, 0.2989, 0.5463, 0.4671),
    "FOREC": (0.3040, 0.1983, 0.4458, 0.3191, 0.2927, 0.5442, 0.4683),
    "MA-NMF++, one model of all": (0.3442, 0.2212, 0.4602, 0.3052, 0.3112, 0.5536, 0.4604),
}
_WSDM22 = {
    "LightGBM on all scores": (0.725, 0.826),
    "LightGCN": (0.698, 0.806),
    "MF, 2,048 dimensions": (0.690, 0.785),
    "xm-itemCF": (0.686, 0.782),
    "UltraGCN": (0.681, 0.780),
    "itemCF, t1 alone": (0.677, 0.761),
    "GF-CF": (0.675, 0.761),
}
_GOWALLA = {
    "SimpleX": (0.1872, 0.1557),
    "UltraGCN": (0.1862, 0.1580),
    "GF-CF": (0.1849, 0.1518),
    "MF-CCL": (0.1837, 0.1493),
    "LightGCN": (0.1820, 0.1547),
    "EASE": (0.1765, 0.1467),
    "YoutubeDNN": (0.1754, 0.1473),
    "MF-BPR": (0.1627, 0.1378),
    "itemCF": (0.1570, 0.1214),
    "ItemPop": (0.0416, 0.0317),
}
_SAMPLED = ("ndcg_at_10_sampled", "hit_rate_at_10_sampled")
_FULL = ("recall_at_20", "ndcg_at_20")

_ALL = (
    Protocol(
        "xmarket-ecir23",
        "Bhargav, Aliannejadi and Kanoulas, Market-Aware Models for Efficient Cross-Market "
        "Recommendation, ECIR 2023",
        "github.com/samarthbhargav/efficient-xmrec, results.ipynb",
        "test",
        "file",
        ("ndcg_at_10_sampled",),
        "1 + 99 candidates of the market; published with the us market, and on lists that can be "
        "drawn again but not proved equal. A tie counts as a miss, there by document id.",
        {
            market: {
                method: {"ndcg_at_10_sampled": values[place]} for method, values in _ECIR23.items()
            }
            for place, market in enumerate(_MARKETS)
        },
    ),
    Protocol(
        "wsdm22",
        "WSDM Cup 2022, Cross-Market Recommendation",
        "github.com/miziha-zp/BiuG-XMRec-WSDMCup22, readme.md",
        "valid",
        "file",
        _SAMPLED,
        "The organisers' lists of 100; published numbers were tuned on these same lists. A tie "
        "counts as a miss.",
        {
            "t1": {
                method: dict(zip(_SAMPLED, values, strict=True))
                for method, values in _WSDM22.items()
            }
        },
    ),
    Protocol(
        "bars-gowalla",
        "Zhu et al., BARS: Towards Open Benchmarking for Recommender Systems, SIGIR 2022",
        "github.com/reczoo/BARS, docs/Matching/leaderboard/gowalla_m1.csv",
        "test",
        "none",
        _FULL,
        "All items are ranked and train rows alone are masked. The published models were stopped "
        "and tuned on test.",
        {
            "*": {
                method: dict(zip(_FULL, values, strict=True)) for method, values in _GOWALLA.items()
            }
        },
    ),
    Protocol(
        "cdr-999",
        "Cao et al., DisenCDR: Learning Disentangled Representations for Cross-Domain "
        "Recommendation, SIGIR 2022",
        "no table was found on this split",
        "test",
        "drawn",
        ("hit_rate_at_10_sampled", "ndcg_at_10_sampled"),
        "999 negatives of the domain's train items a test row, drawn anew with a seed; the user's "
        "held-out items are left out of them, which the published code does not do. A tie counts "
        "as a miss.",
        negatives=999,
    ),
)
PROTOCOLS = {protocol.name: protocol for protocol in _ALL}
"""By name."""
