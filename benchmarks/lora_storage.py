"""Many adapters over one base: what it costs to load them and to switch; and their size on disk.

Each of a thousand adapters, of a domain with some hundred items and five users of its own, is read
from its folder, checked and put on the base, and stays there. Then they take turns: each call
scores a batch with another one. What is asked of ten and of all of them is the same.
"""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from benchmarks.common import Measures, say, table
from benchmarks.made_artefacts import made_adapter, made_base
from lorarec.lora.adapter import Adapter, load_adapter, save_adapter
from lorarec.lora.attach import adapter_state
from lorarec.lora.config import AdapterConfig
from lorarec.models.artefact import Base

DIM, RANK, GROWN, TOUCHED, PAIRS, FEW = 64, 8, 5, 300, 256, 10
PEFT_FILE = "PEFT, adapter_model.safetensors"


def switching(quick: bool, measures: Measures) -> None:
    """Load, hold and switch among many adapters."""
    count, users, items = (40, 2_000, 10_000) if quick else (1_000, 100_000, 500_000)
    say(f"switching: {count:,} adapters")
    base = made_base(users, items, DIM)
    config = AdapterConfig(ranks={"items": RANK, "transform": RANK})
    drawn = torch.Generator().manual_seed(1)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            rows = torch.randint(items, (TOUCHED,), generator=drawn).unique()
            place = Path(folder, str(number))
            place.mkdir()
            save_adapter(made_adapter(base, config, rows, GROWN, number), place)
        load_adapter(Path(folder, "0"), base)  # warm
        gc.collect()
        held: list[Adapter] = []
        loads: list[float] = []
        before = resident()
        for number in range(count):
            started = time.process_time()
            held.append(load_adapter(Path(folder, str(number)), base))
            loads.append((time.process_time() - started) * 1e3)
        more = (resident() - before) / count
    touched = sum(size(adapter) for adapter in held) / count / 1024
    few, every = switches(held[:FEW], base), switches(held, base)
    first, last = statistics.median(loads[:FEW]), statistics.median(loads[-FEW:])
    table(
        f"{count:,} adapters over one base of {users + items:,} rows, {TOUCHED} items touched each",
        ["", f"with {FEW}", f"with {count:,}", "ratio"],
        [
            ("load and attach, ms", f"{first:.3f}", f"{last:.3f}", last / first),
            (f"switch and score {PAIRS} pairs, ms", f"{few:.3f}", f"{every:.3f}", every / few),
        ],
    )
    print(f"held: {more:.0f} KiB an adapter, of which {touched:.0f} are its numbers")
    end = f"{count}_over_{FEW}"
    measures.add(f"switch_{end}", every / few, "ratio")
    measures.add(f"load_{end}", last / first, "ratio")
    measures.add("load_ours_ms", last, "ms")
    measures.add("switch_ours_ms", every, "ms")
    measures.add("held_kib_an_adapter", more, "KiB")
    measures.add("numbers_kib_an_adapter", touched, "KiB")
    if quick:
        measures.leave_out("switch_1000_over_10", "--quick has fewer adapters")


def resident() -> float:
    """KiB of memory that this process holds now; Linux tells."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("VmRSS")))


def size(adapter: Adapter) -> int:
    """Bytes of an adapter's tensors."""
    return sum(t.numel() * t.element_size() for t in adapter_state(adapter.model).values())


def switches(adapters: Sequence[Adapter], base: Base, calls: int = 500) -> float:
    """Milliseconds of a call that scores with another adapter than the one before; the median."""
    drawn = torch.Generator().manual_seed(2)
    users = torch.randint(len(base.users) + GROWN, (PAIRS,), generator=drawn)
    items = torch.randint(len(base.items), (PAIRS,), generator=drawn)
    order = torch.randint(len(adapters), (calls,), generator=drawn).tolist()
    found = []
    with torch.no_grad():
        for number in order:
            started = time.process_time()
            adapters[number].model.score(users, items)
            found.append((time.process_time() - started) * 1e3)
    return statistics.median(found)


def sizes_on_disk(quick: bool, measures: Measures) -> None:
    """Bytes on disk of a row adapter of the items, and of the same adapter in PEFT."""
    items, touched = (20_000, 560) if quick else (1_000_000, 28_000)
    say(f"size: {touched:,} of {items:,} rows touched")
    base = made_base(10, items, DIM)
    rows = torch.randperm(items, generator=torch.Generator().manual_seed(3))[:touched]
    config = AdapterConfig(ranks={"items": RANK}, bias=False)
    adapter = made_adapter(base, config, rows.sort().values, 0, 0)
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder, "ours"), Path(folder, "theirs")
        ours.mkdir()
        save_adapter(adapter, ours)
        save_with_peft(adapter, base, theirs)
        found = {
            "lorarec, adapter.safetensors": (ours / "adapter.safetensors").stat().st_size,
            "lorarec, the folder": sum(file.stat().st_size for file in ours.iterdir()),
            PEFT_FILE: (theirs / "adapter_model.safetensors").stat().st_size,
        }
    file = found["lorarec, adapter.safetensors"]
    table(
        f"On disk, d = {DIM}, r = {RANK}, {touched:,} of {items:,} rows touched",
        ["", "MiB", "/ ours"],
        [(name, f"{own / 2**20:.2f}", f"{own / file:.1f}x") for name, own in found.items()],
    )
    ratio = found[PEFT_FILE] / file
    name = "bytes_vs_peft" if not quick else "bytes_vs_peft_small"
    measures.add(name, ratio, "ratio", PEFT_FILE, ratio)
    measures.add("adapter_ours_bytes", file, "bytes")
    measures.add("adapter_peer_bytes", found[PEFT_FILE], "bytes", PEFT_FILE)


def save_with_peft(adapter: Adapter, base: Base, folder: Path) -> None:
    """The same adapter as PEFT holds and writes it: A has a column for each row of the table.

    Raises:
        ImportError: PEFT is not installed.
    """
    from peft import LoraConfig, get_peft_model

    table = nn.Embedding.from_pretrained(base.model.items.weight.detach())
    config = LoraConfig(r=RANK, lora_alpha=1, use_rslora=True, target_modules=["items"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about models that are none of Hugging Face's
        model = get_peft_model(base.model.replaced(items=table), config)
        theirs, ours = model.base_model.model.items, adapter.model.items
        with torch.no_grad():
            theirs.lora_embedding_A["default"][:, ours.rows] = ours.a.T
            theirs.lora_embedding_B["default"].copy_(ours.b.T)
        every = torch.arange(len(base.items))
        if not torch.allclose(theirs(every), ours(every), atol=1e-5):
            raise ValueError("PEFT's table and ours are not the same.")
        model.save_pretrained(str(folder))
