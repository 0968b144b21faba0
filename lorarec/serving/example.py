"""Ranks the items of the files beside it for a user, without lorarec: example.py USER [K]"""

import json
import sys
from pathlib import Path

import faiss
import numpy as np
from safetensors.numpy import load_file

folder = Path(__file__).parent
arrays = load_file(folder / "vectors.safetensors")
index = faiss.read_index(str(folder / "items.faiss"))
items = json.loads((folder / "items.json").read_text("utf-8"))
ids = json.loads((folder / "users.json").read_text("utf-8"))
users = {user: row for row, user in enumerate(ids)}


def recommend(user: str, k: int = 10) -> list[tuple[str, float]]:
    """The k best items that the user has not had, and their scores; strangers get popular ones."""
    row, offsets = users.get(user, -1), arrays["seen_offsets"]
    had = arrays["seen_items"][offsets[row] : offsets[row + 1]] if row >= 0 else []
    found, scores = np.arange(len(items)), arrays["popularity"]
    if 0 <= row < len(arrays["users"]):
        vector = arrays["users"][row]
        found = np.sort(index.search(vector[None], min(len(items), k + len(had) + 16))[1][0])
        scores = arrays["items"][found].astype(np.float64) @ vector.astype(np.float64)
    found, scores = found[~np.isin(found, had)], scores[~np.isin(found, had)]
    best = np.argsort(-scores.astype(np.float32), kind="stable")[:k]
    return [(items[found[place]], float(scores[place])) for place in best]


if __name__ == "__main__":
    user, *number = sys.argv[1:]
    sys.stdout.write(json.dumps(recommend(user, *map(int, number))) + "\n")
