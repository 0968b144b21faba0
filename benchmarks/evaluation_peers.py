"""RecTools and LensKit as `evaluation.py` times them, run in an environment of theirs.

    PYTHON evaluation_peers.py rectools|lenskit ARRAYS.npz ROUNDS

It needs NumPy, SciPy, pandas and the peer, nothing of lorarec, and prints one JSON object: seconds
of the processor a round, how many users a round had, and the mean metrics. Each starts from
factors, seen and held-out items in the peer's own form, and ends with the means; making that form
is not counted.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

CUTS = (10, 20, 50)
LENSKIT_USERS = 1500
"""LensKit goes user by user; its users a second are those of the first so many."""


def rectools(arrays: Any, rounds: int) -> dict[str, Any]:
    """`ImplicitRanker`, then `calc_metrics`."""
    import pandas as pd
    from rectools import Columns
    from rectools.metrics import NDCG, Recall, calc_metrics
    from rectools.models.rank import Distance, ImplicitRanker
    from scipy.sparse import csr_matrix

    users, items = arrays["users"], arrays["items"]
    ones = np.ones(len(arrays["seen_item"]), np.float32)
    shape = (len(users), len(items))
    seen = csr_matrix((ones, (arrays["seen_user"], arrays["seen_item"])), shape=shape)
    held = pd.DataFrame({Columns.User: arrays["held_user"], Columns.Item: arrays["held_item"]})
    metrics: dict[str, Any] = {}
    for k in CUTS:
        metrics[f"recall_at_{k}"] = Recall(k=k)
        metrics[f"ndcg_at_{k}"] = NDCG(k=k, divide_by_achievable=True)
    ids = np.arange(len(users))
    seconds, found = [], {}
    for _ in range(rounds):
        started = time.process_time()
        ranker = ImplicitRanker(Distance.DOT, users, items, num_threads=1)
        user, item, _scores = ranker.rank(ids, k=max(CUTS), filter_pairs_csr=seen)
        reco = pd.DataFrame({Columns.User: user, Columns.Item: item})
        reco[Columns.Rank] = reco.groupby(Columns.User, sort=False).cumcount() + 1
        found = calc_metrics(metrics, reco=reco, interactions=held)
        seconds.append(time.process_time() - started)
    return {"seconds": seconds, "users": len(users), "metrics": {k: float(found[k]) for k in found}}


def lenskit(arrays: Any, rounds: int) -> dict[str, Any]:
    """A top-n pipeline over given factors, then `RunAnalysis`."""
    import pandas as pd
    from lenskit.als import ImplicitMFScorer
    from lenskit.batch import recommend
    from lenskit.data import ItemListCollection, from_interactions_df
    from lenskit.metrics import NDCG, LogRankWeight, Recall, RunAnalysis
    from lenskit.pipeline import topn_pipeline

    seen = pd.DataFrame({"user_id": arrays["seen_user"], "item_id": arrays["seen_item"]})
    held = pd.DataFrame({"user_id": arrays["held_user"], "item_id": arrays["held_item"]})
    seen = seen.drop_duplicates()
    scorer = ImplicitMFScorer(
        embedding_size=arrays["users"].shape[1], epochs=1, user_embeddings="prefer"
    )
    pipeline = topn_pipeline(scorer)
    pipeline.train(from_interactions_df(seen))
    scorer = pipeline.node("scorer").component
    scorer.user_embeddings = arrays["users"][np.asarray(scorer.users.ids())]
    scorer.item_embeddings = arrays["items"][np.asarray(scorer.items.ids())]
    chosen = np.unique(held["user_id"])[:LENSKIT_USERS]
    truth = ItemListCollection.from_df(held[held["user_id"].isin(chosen)], ["user_id"])
    analysis = RunAnalysis()
    for k in CUTS:
        analysis.add_metric(Recall(n=k))
        # Ranks 1 and 2 weigh the same in its own default.
        analysis.add_metric(NDCG(n=k, weight=LogRankWeight(offset=1)))
    seconds, summary = [], None
    for _ in range(rounds):
        started = time.process_time()
        lists = recommend(pipeline, chosen.tolist(), n=max(CUTS), n_jobs=1)
        summary = analysis.measure(lists, truth).list_summary()["mean"]
        seconds.append(time.process_time() - started)
    assert summary is not None
    means = {}
    for k in CUTS:
        means[f"recall_min_at_{k}"] = float(summary[f"Recall@{k}"])
        means[f"ndcg_at_{k}"] = float(summary[f"NDCG@{k}"])
    return {"seconds": seconds, "users": len(chosen), "metrics": means}


if __name__ == "__main__":
    name, path, times = sys.argv[1:]
    with np.load(path, allow_pickle=False) as file:
        given = dict(file)
    print(json.dumps({"rectools": rectools, "lenskit": lenskit}[name](given, int(times))))
