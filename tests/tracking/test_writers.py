"""Four processes write into one SQLite store at once, and nothing of any of them is lost."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from lorarec.tracking import Store, recent_runs
from lorarec.tracking.history import metric_history

DOMAINS = ("books", "movies", "games", "men's/wear")
RUNS, STEPS = 3, 50
WRITER = textwrap.dedent(
    f"""
    import sys
    from lorarec.config import load_settings
    from lorarec.tracking import open_store, standard_tags

    settings = load_settings()
    store, tags = open_store(settings.tracking), standard_tags(domain=sys.argv[1])
    for number in range({RUNS}):
        with store.run(f"adapt-{{number}}", "adapt", params=settings.flat(), tags=tags) as run:
            for step in range({STEPS}):
                run.log_metrics({{"loss": float(step)}}, step=step)
                if step % 10 == 0:
                    run.flush()
            run.log_text("words.txt", sys.argv[1])
    """
)


def test_four_writers_lose_nothing(store: Store, project: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, domain], cwd=project) for domain in DOMAINS
    ]
    assert [writer.wait(120) for writer in writers] == [0] * len(DOMAINS)
    found = recent_runs(store, 100)
    assert sorted(str(run.domain) for run in found) == sorted(DOMAINS * RUNS)
    for run in found:
        assert run.status == "FINISHED"
        assert metric_history(store, run.run_id, "loss") == [(n, float(n)) for n in range(STEPS)]
        assert run.params["train.epochs"]
        assert Path(run.artifact_uri, "words.txt").read_text() == run.domain
