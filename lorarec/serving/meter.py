"""Counters of a server in Prometheus's text format, without its client library."""

from __future__ import annotations

import threading
from collections import Counter
from itertools import accumulate

from lorarec.serving.pool import Pool

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Seconds, upper ends of the histogram."""
PATHS = ("/recommend", "/domains", "/healthz", "/metrics")


class Meter:
    """Counts answers, their seconds, swaps and what is in memory.

    Args:
        pool: Asked for what it holds when the text is made.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool, self._lock = pool, threading.Lock()
        self._answers: Counter[tuple[str, int]] = Counter()
        self._slots, self._seconds = [0] * (len(BOUNDS) + 1), 0.0
        self._swaps, self._failures = 0, 0

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count one answer; the histogram is of /recommend alone."""
        with self._lock:
            # Any path can be asked for: others share one name, or the counters grow forever.
            self._answers[path if path in PATHS else "other", status] += 1
            if path == "/recommend":
                self._slots[sum(seconds > bound for bound in BOUNDS)] += 1
                self._seconds += seconds

    def refreshed(self, swapped: int, failed: int) -> None:
        """Count domains that were swapped, and that could not be."""
        with self._lock:
            self._swaps += swapped
            self._failures += failed

    def text(self) -> str:
        """All of it."""
        held = self._pool.held
        with self._lock:
            counts, total = list(accumulate(self._slots)), sum(self._slots)
            answers = sorted(self._answers.items())
            seconds, swaps, failures = self._seconds, self._swaps, self._failures
        name = "lorarec_recommend_seconds"
        lines = ["# TYPE lorarec_requests_total counter"]
        lines += [
            f'lorarec_requests_total{{path="{path}",status="{status}"}} {count}'
            for (path, status), count in answers
        ]
        lines += [f"# TYPE {name} histogram"]
        lines += [
            f'{name}_bucket{{le="{bound:g}"}} {count}'
            for bound, count in zip(BOUNDS, counts, strict=False)
        ]
        lines += [f'{name}_bucket{{le="+Inf"}} {total}', f"{name}_sum {seconds:.6f}"]
        lines += [f"{name}_count {total}"]
        for what, kind, value in (
            ("lorarec_swaps_total", "counter", swaps),
            ("lorarec_swap_failures_total", "counter", failures),
            ("lorarec_domains_loaded", "gauge", len(held)),
            ("lorarec_domains_bytes", "gauge", sum(snapshot.nbytes for snapshot in held)),
        ):
            lines += [f"# TYPE {what} {kind}", f"{what} {value}"]
        return "\n".join(lines) + "\n"
