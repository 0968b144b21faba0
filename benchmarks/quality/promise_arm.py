"""One way to adapt one market, in a process of its own: its curve, memory and sizes as JSON.

    python benchmarks/quality/promise_arm.py STORE BASE MARKET ARM MULTIPLE

ARM is `lora` (rank 8, transform, bias), `full` (row-sparse full fine-tuning of the touched rows) or
`dense` (both whole tables with torch's Adam, the loop of a tutorial); MULTIPLE is of the step size.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from pathlib import Path

import torch
from torch import nn

if (ROOT := str(Path(__file__).resolve().parents[2])) not in sys.path:
    sys.path.insert(0, ROOT)

from lorarec.config import Settings, Tracking
from lorarec.jobs.adapt import full_shape, shape
from lorarec.jobs.choose import choose_base
from lorarec.jobs.domain import domain_data, touched_rows
from lorarec.jobs.listener import SILENT
from lorarec.jobs.options import drawn_power, loop_options
from lorarec.lora.attach import adapter_parameters, attach
from lorarec.models.base import BaseModel
from lorarec.tracking.store import open_store
from lorarec.training.examples import examples_of
from lorarec.training.loop import Progress, fit
from lorarec.training.validation import RankingValidation

ADAM = 2 * 4
"""Bytes of Adam's two float32 moments."""


def from_here() -> float:
    """MiB that this process holds now; on Linux its peak is counted from here on."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        return peak()
    gc.collect()
    reset.write_text("5", encoding="ascii")
    return _kib(status, "VmRSS") / 1024


def peak() -> float:
    """MiB that this process has held at most."""
    status = Path("/proc/self/status")
    if status.exists():
        return _kib(status, "VmHWM") / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _kib(status: Path, name: str) -> int:
    lines = status.read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def dense(model: BaseModel) -> tuple[BaseModel, dict[str, nn.Parameter]]:
    """Whole tables of its own, with dense gradients, in place of touched rows.

    Args:
        model: With full fine-tuning attached: its bias stays.
    """
    tables = {
        name: nn.Embedding.from_pretrained(getattr(model, name).base.weight.clone(), freeze=False)
        for name in ("users", "items")
    }
    made = model.replaced(**tables)
    own = {f"{name}.weight": table.weight for name, table in tables.items()}
    return made, own | {n: p for n, p in adapter_parameters(model).items() if n.startswith("bias")}


def run(uri: str, base_uri: str, market: str, arm: str, multiple: float) -> dict[str, object]:
    """Train, and say what it took: times are the processor's, and hold the validations."""
    store = open_store(Tracking(uri=uri), environ={})
    chosen = choose_base(store, base_uri, SILENT)
    settings = Settings().with_options({"train.threads": 1})
    torch.set_num_threads(1)
    frame, _ = chosen.base.info.data.read_again(chosen.base.info.split)
    data = domain_data(chosen.base, frame, market)
    examples = examples_of(data.train, [market], drawn_power(settings.train), "cpu")
    validation = RankingValidation(data.train, data.valid, [market], 0, "cpu")
    config = shape(settings, chosen.base) if arm == "lora" else full_shape(settings, chosen.base)
    before = from_here()
    started = time.process_time()
    model = attach(chosen.base.model, config, touched_rows(chosen.base, data))
    parameters = adapter_parameters(model)
    if arm == "dense":
        model, parameters = dense(model)
    rate = settings.adapt.learning_rate * multiple
    curve: list[tuple[float, float, float]] = []

    def step(progress: Progress) -> None:
        if progress.metrics:
            values = (progress.metrics["valid_recall_at_20"], progress.metrics["valid_ndcg"])
            curve.append((time.process_time() - started, *values))

    fit(
        {market: model},
        parameters,
        examples,
        loop_options(settings.train, settings.adapt, rate, 0),
        lambda: validation({market: model}),
        step,
    )
    count = sum(p.numel() for p in parameters.values())
    return {
        "curve": curve,
        "seconds": time.process_time() - started,
        "peak_mib": peak() - before,
        "parameters": count,
        "optimizer_bytes": count * ADAM,
        "bytes": count * 4,
    }


if __name__ == "__main__":
    store_uri, base_name, name, kind, times = sys.argv[1:]
    print(json.dumps(run(store_uri, base_name, name, kind, float(times))))
