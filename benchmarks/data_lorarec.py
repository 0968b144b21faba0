"""Ours in benchmarks/data.py: one call in a process of its own; prints its seconds.

python -m benchmarks.data_lorarec prepare LOGS OUT
python -m benchmarks.data_lorarec append LOGS DATASET
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from lorarec.data.prepared.build import append, prepare
from lorarec.data.prepared.manifest import Options

if __name__ == "__main__":
    work, logs, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    started = time.perf_counter()
    if work == "append":
        append(folder, [logs])
    else:
        prepare([logs], folder, Options())
    print(time.perf_counter() - started)
