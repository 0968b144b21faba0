"""What a base of a given size needs on 1, 8 and 64 GPUs: the computed half of `scale.py`.

Every figure is a measured rate (`scale_rates.py`) times a count, divided by how much more a GPU has
of what the measured thread used. What a GPU, a machine and their network have is assumed: published
figures of one product, of which a share is taken to be reached. None of it was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from benchmarks.scale_rates import DIM, NEGATIVES, Rates, operations, received, touched

GB = 1e9
SCORES = 6
"""Copies of a step's scores, float32, that are taken to be held at once at most."""


@dataclass(frozen=True)
class Assumed:
    """One machine of 8 GPUs and the network between such machines; not measured."""

    gpu_memory: float = 80e9
    """Bytes: NVIDIA H100 SXM, data sheet."""
    gpu_copy: float = 3.35e12
    """Bytes a second of its memory, the same."""
    gpu_product: float = 989e12
    """bfloat16 operations a second, dense, the same; `precision = "auto"` uses them."""
    link: float = 450e9
    """Bytes a second into a GPU from others of its machine: NVLink 4, one way."""
    network: float = 400e9
    """Bytes a second into a machine: eight adapters of 400 Gb/s."""
    share: float = 0.5
    """Of each of the figures above that is reached."""
    machine_gpus: int = 8
    machine_memory: float = 2e12
    """Bytes: DGX H100, data sheet."""
    machine_cores: int = 112
    """The same; a core is taken to be as fast as the measured thread."""
    disk: float = 2e9
    """Bytes a second to a shared disk, all machines together."""
    gloo: float = 1e9
    """Bytes a second between two CPUs over TCP."""


@dataclass(frozen=True)
class World:
    """What is trained."""

    interactions: float = 1e9
    users: float = 1e8
    items: float = 1e7
    domains: float = 1000
    """Of equal size, with users and items of their own."""
    batch: float = 65_536
    """Rows a step of all GPUs together."""
    validated: float = 4096
    """Users a domain that validation ranks for."""
    adapt_epochs: float = 15
    adapt_trials: float = 3
    """Step sizes that `adapt` tries, as [adapt] has them."""


@dataclass(frozen=True)
class Plan:
    """A base on some GPUs; seconds and bytes."""

    gpus: int
    sharded: bool
    tables: float
    """On one GPU: weights, best, average, moments, and what validation puts aside."""
    data: float
    """On one GPU: the interactions."""
    batch: float
    """On one GPU: scores of a step, and what is kept of them for the way back."""
    host: float
    """On one machine: the logs in each of its processes."""
    start_host: float
    """On the first machine besides, while the start is made."""
    start: float
    """Seconds of the start on one core."""
    received: float
    """Bytes into one GPU a step."""
    compute: float
    """Seconds of a step on the GPU."""
    sending: float
    """Seconds of a step in the network."""
    words: float
    """Seconds of a step until all ranks know what each said."""
    overhead: float
    """Seconds of a step beside all that."""
    steps: float
    """Of an epoch."""
    validation: float
    """Seconds of a validation."""
    collected: float
    """Seconds until the first rank has the base."""

    @property
    def gpu(self) -> float:
        """Bytes on one GPU."""
        return self.tables + self.data + self.batch

    @property
    def step(self) -> float:
        """Seconds."""
        return self.compute + self.sending + self.words + self.overhead

    @property
    def epoch(self) -> float:
        """Seconds, the validation after it included."""
        return self.steps * self.step + self.validation


def planned(rates: Rates, gpus: int, sharded: bool, world: World, has: Assumed) -> Plan:
    """A base of that size on so many GPUs."""
    machines = max(1, gpus // has.machine_gpus)
    processes = min(gpus, has.machine_gpus)
    here = (world.users + world.items) / (gpus if sharded else 1)
    rows = world.batch / gpus
    slower = rates.copy / (has.gpu_copy * has.share)
    moved = touched(rows) if sharded else touched(rows) * gpus
    taken = received(touched(rows), gpus, sharded) if gpus > 1 else 0.0
    # A ring of all GPUs brings into a machine once what each GPU receives; shards are asked of all.
    into = taken if not sharded else taken * processes * (1 - processes / gpus)
    return Plan(
        gpus=gpus,
        sharded=sharded,
        tables=here * (rates.kept["adam"] + 4 * DIM),
        data=world.interactions * rates.example,
        batch=rows * NEGATIVES * 4 * SCORES,
        host=world.interactions * rates.host * processes,
        start_host=world.interactions * rates.start_bytes,
        start=world.interactions * rates.start_seconds,
        received=taken,
        compute=operations(rows) / (has.gpu_product * has.share)
        + (rates.pair * rows * NEGATIVES + rates.row * moved) * slower,
        sending=max(
            taken / (has.link * has.share),
            into / (has.network * has.share) if machines > 1 else 0.0,
        ),
        words=rates.words[sharded] * rates.word * (gpus - 1),
        overhead=rates.overhead,
        steps=world.interactions / world.batch + world.domains / 2,
        validation=rates.ranked
        * slower
        * world.domains
        * world.validated
        * world.items
        / world.domains,
        collected=(world.users + world.items) * 4 * DIM / has.gloo if sharded else 0.0,
    )


def limits(plan: Plan, has: Assumed) -> list[tuple[str, float]]:
    """What must not be above what there is, and how many times it is; the worst first."""
    found = [
        ("a GPU's memory", plan.gpu / has.gpu_memory),
        ("a machine's memory", (plan.host + plan.start_host) / has.machine_memory),
    ]
    return sorted(found, key=lambda pair: -pair[1])


def breaks(plan: Plan, has: Assumed) -> str:
    """What stops a base of that size first or, where nothing does, one of which larger size."""
    what, times = limits(plan, has)[0]
    if times > 1:
        return f"{what}: {times:.1f} times what there is"
    return f"fits up to {1 / times:.1f} times this size, and then {what}"


def slowest(plan: Plan) -> str:
    """What takes most of a step."""
    parts = {
        "computing": plan.compute,
        "sending": plan.sending,
        "waiting for the ranks' words": plan.words,
        "calls beside the work": plan.overhead,
    }
    name = max(parts, key=lambda part: parts[part])
    return f"{name}, {parts[name] / plan.step:.0%}"


def adapters(rates: Rates, gpus: int, world: World, has: Assumed) -> tuple[float, float, float]:
    """Seconds of an adapter on a core; hours of all on the machines' cores; bytes of all."""
    each = world.interactions / world.domains
    seconds = each * world.adapt_epochs * world.adapt_trials * rates.adapter
    cores = has.machine_cores * gpus / has.machine_gpus
    size = (world.users + world.items) * rates.adapter_bytes
    return seconds, seconds * world.domains / cores / 3600, size


def assumptions(has: Assumed) -> Sequence[tuple[str, str]]:
    """By name, as the table shows them."""
    return [(field.name, f"{getattr(has, field.name):.4g}") for field in fields(has)]
