"""One arm of `lora_steps.py` in a process of its own, which does what it is told on stdin.

A line `check FILE` takes a step of SGD and writes the scores before and after it; `steps N` takes N
steps and prints their milliseconds of processor time; `peak` prints the largest resident size so
far, MiB. What it prints is JSON, a line each.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import numpy as np
import torch

if (ROOT := str(Path(__file__).resolve().parents[1])) not in sys.path:
    sys.path.insert(0, ROOT)

from benchmarks.adapter_arms import Arm, World
from benchmarks.domain_arms import DomainArm


def peak() -> float:
    """MiB, the largest resident size of this process."""
    kib = 1024 if sys.platform != "darwin" else 1024**2
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / kib


def main() -> None:
    """Obey until stdin ends."""
    made = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    kind = {"one": Arm, "many": DomainArm}[made["kind"]]
    arm = kind(made["arm"], World(**made["world"]), **made["options"])
    print(json.dumps({"touched": arm.touched}), flush=True)
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        answer: object = None
        if word == "check":
            np.save(rest, torch.stack(arm.after_sgd()).numpy())
        elif word == "steps":
            answer = [arm.step() for _ in range(int(rest))]
        elif word == "peak":
            answer = peak()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
