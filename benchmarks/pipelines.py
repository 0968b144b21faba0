"""Scheduled retraining: what is lost where it is killed, and what an orchestrator costs.

    python benchmarks/pipelines.py [--json FILE] [--quick | --full] [--only PART]

`kills`: a made project of three domains is retrained once; then new logs come, and the retraining
that takes them (a new base, three adapters rebased, gates, aliases, indexes, page) is killed with
SIGKILL, whole process group and all, 50 times: every other time at a moment drawn uniformly over
its duration, else at a commit point drawn by name, before or after a rename, a registry write, an
alias move or a step. After one plain rerun everything must be as after the run that nobody killed:
rows and digest of the data set, vocabularies, digests of bases and adapters, versions, aliases,
verdicts, the number of trainings; no temporary file and no RUNNING run may be left; and a reader
that loads `models:/lorarec-<domain>@champion` all the time may never fail.

`orchestrator`: a retraining by Dagster in this process beside the plain function calls, in turn.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import Measures, header, parser
from benchmarks.orchestrator import orchestrator
from benchmarks.pipeline_kills import SETTINGS, kill_rounds

PARTS = ("kills", "orchestrator")


def main() -> None:
    """Measure, print and write."""
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--only", choices=PARTS, help="one part alone")
    options = arguments.parse_args()
    header("Scheduled retraining")
    measures = Measures()
    rounds = 1 if options.quick else 200 if options.full else 50
    work, pairs = options.work.resolve(), 1 if options.quick else 9
    parts = {
        "kills": lambda: kill_rounds(rounds, work, measures),
        "orchestrator": lambda: orchestrator(pairs, work, SETTINGS, measures),
    }
    for name in [options.only] if options.only else PARTS:
        parts[name]()
    measures.finish(options.json)


if __name__ == "__main__":
    main()
