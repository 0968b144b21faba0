"""Processes that train together: how they find each other, agree, and end together.

Every rank holds the whole data and the whole model, tables that lie in shards apart, and computes
its share of every batch. What is said between ranks is numbers and JSON in tensors; nothing is
pickled. What decides how the training goes on is always exchanged between CPUs, over gloo, and
before any tensor of a GPU is: a rank that is gone is noticed there, as its connections close, and
not by a GPU that waits for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Thread
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from lorarec.errors import (
    ConfigError,
    LorarecError,
    RankError,
    ToldElsewhereError,
    TrainingError,
)
from lorarec.launch import Launch
from lorarec.training.device import resolve_device

TIMEOUT = timedelta(minutes=30)
"""How long a rank waits for one that neither answers nor is gone, such as while it validates."""
HEARD = 20.0
"""Seconds that a rank that failed leaves the first one to tell it; after them it does so itself."""
GRACE = 1.0
"""Seconds that the first rank has to end by itself before torchrun sees that another has ended."""
RESTARTS = "TORCHELASTIC_RESTART_COUNT"
"""Variable in which torchrun says how often it has started all anew."""
WORD = 20.0
"""Seconds after which ranks that wait for what the first one makes hear that it goes on."""
Made = TypeVar("Made")
_FAILURE, _TOLD = "failure", "told"


class Ranks:
    """The processes of one training, as one of them sees them. Made by `joined`; else `ALONE`.

    All ranks must call the same methods in the same order, and all but `device` block until every
    rank has. A rank that fails in between makes the others' calls raise `RankError`.

    Attributes:
        rank: Of this process, from 0.
        size: How many there are.
    """

    def __init__(self, rank: int = 0, size: int = 1, local_rank: int | None = None) -> None:
        self.rank, self.size = rank, size
        self._local_rank = local_rank
        self._tensors: dist.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this is the rank that tells, validates and records for all."""
        return self.rank == 0

    @property
    def together(self) -> bool:
        """Whether there is anything to exchange: true under torchrun, with one process too."""
        return self._local_rank is not None

    def device(self, name: str) -> str:
        """The device of this rank: on GPUs each process of a machine has its own.

        Raises:
            ConfigError: It is not there, one GPU is named for several ranks, or the ranks would
                train on different kinds of devices.
        """
        device = resolve_device(name)
        if not self.together:
            return device
        kind = device.partition(":")[0]
        if kind == "mps" or (":" in name and self.size > 1):
            raise ConfigError(
                f"--device {name} is not for {self.size} ranks that train together. Expected cpu, "
                f"or cuda, of which every rank of a machine takes its own."
            )
        if device == "cuda":
            device = resolve_device(f"cuda:{self._local_rank}")
        self.agree({"kind of device": kind})
        if kind == "cuda":
            torch.cuda.set_device(device)
            self._tensors = dist.new_group(backend="nccl", timeout=TIMEOUT)
        return device

    def numbers(self, own: Sequence[float]) -> list[list[float]]:
        """The same count of numbers of every rank, by rank; float64, so counts are exact."""
        if not self.together:
            return [list(own)]
        mine = torch.tensor(own, dtype=torch.float64)
        found = [torch.empty_like(mine) for _ in range(self.size)]
        with _listening():
            dist.all_gather(found, mine)
        return [values.tolist() for values in found]

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether any rank raised it."""
        if not self.together:
            return list(flags)
        by_rank = self.numbers([float(flag) for flag in flags])
        return [any(values) for values in zip(*by_rank, strict=True)]

    def from_first(self, make: Callable[[], Any]) -> Any:
        """What the first rank makes, on all of them: a value that JSON can hold."""
        if not self.together:
            return make()
        return self._texts(json.dumps(make()) if self.first else "")[0]

    def awaited(self, make: Callable[[], Made], every: float = WORD) -> Made | None:
        """What the first rank makes, on that one; None on the others, which wait however long.

        Args:
            make: Called in a thread, while the first rank goes on telling that it is there.
            every: Seconds between two such words; fewer than a rank waits for an answer.
        """
        if not self.together:
            return make()
        if not self.first:
            while not self.any(False)[0]:
                pass
            return None
        made: Future[Made] = Future()
        Thread(target=_fulfil, args=(made, make), daemon=True).start()
        while True:
            wait([made], every)
            if self.any(made.done())[0]:
                return made.result()

    def each(self, own: Any) -> list[Any]:
        """What every rank says, by rank: values that JSON can hold."""
        return self._texts(json.dumps(own)) if self.together else [own]

    def agree(self, own: Mapping[str, object]) -> None:
        """Refuse to go on where a rank has anything else than the first one.

        Raises:
            ConfigError: The first rank that differs is named, and what differs there.
        """
        if not self.together:
            return
        found = self.each({name: str(value) for name, value in own.items()})
        for rank, theirs in enumerate(found):
            ours = found[0]
            differing = [n for n in sorted({*ours, *theirs}) if ours.get(n) != theirs.get(n)]
            if differing:
                shown = "; ".join(
                    f"{name} is {ours.get(name)!r} on rank 0 and {theirs.get(name)!r} there"
                    for name in differing[:5]
                )
                raise ConfigError(
                    f"Rank {rank} of {self.size} does not train the same as rank 0 "
                    f"({len(differing)} differ): {shown}. Expected the same logs and settings on "
                    f"all ranks; give every machine the same files, lorarec.toml and options."
                )

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors with those of the first rank."""
        for tensor in tensors if self.together else ():
            with _listening():
                dist.broadcast(tensor, 0, group=self._group(tensor))

    def gather(self, own: Tensor) -> list[Tensor]:
        """A tensor of every rank, by rank; all have the same shape."""
        found = [torch.empty_like(own) for _ in range(self.size)]
        with _listening():
            dist.all_gather(found, own, group=self._group(own))
        return found

    def deal(self, own: Tensor, sent: list[int], received: list[int]) -> Tensor:
        """Give each rank its rows of a tensor, and take those of all others, by rank.

        Args:
            own: (sum of `sent`, ...): the rows for rank 0, then those for rank 1 and so on.
            sent: How many there are for each.
            received: How many each has for this rank.

        Returns:
            (sum of `received`, ...).
        """
        found = own.new_empty(sum(received), *own.shape[1:])
        with _listening():
            dist.all_to_all_single(found, own.contiguous(), received, sent, group=self._group(own))
        return found

    def hand_out(self, parts: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        """What the first rank has for this one.

        Args:
            parts: float32 (ranks, *shape) on the first rank's CPU; None on the others.
            shape: Of each part.

        Returns:
            float32, on the CPU.
        """
        found = torch.empty(shape)
        with _listening():
            dist.scatter(found, None if parts is None else list(parts), 0)
        return found

    def collect(self, own: Tensor) -> list[Tensor]:
        """A tensor of every rank on the first one's CPU, by rank; nothing on the others.

        All have the same shape, on the CPU.
        """
        found = [torch.empty_like(own) for _ in range(self.size)] if self.first else None
        with _listening():
            dist.gather(own, found, 0)
        return found or []

    def add_up(self, tensor: Tensor) -> None:
        """Overwrite a tensor with its sum over the ranks, the same bits on all of them."""
        with _listening():
            dist.all_reduce(tensor, group=self._group(tensor))

    def reseed(self, seed: int, step: int) -> None:
        """Give layers that draw, such as dropout, other numbers on every rank.

        The first rank goes on with those that one process alone would draw. Those of the others
        follow from the step, so that a checkpoint need not hold them.
        """
        if not self.first:
            digest = hashlib.sha256(f"{seed} {step} {self.rank}".encode()).digest()
            torch.manual_seed(int.from_bytes(digest[:7]))

    def _group(self, tensor: Tensor) -> dist.ProcessGroup | None:
        return self._tensors if tensor.device.type == "cuda" else None

    def _texts(self, own: str) -> list[Any]:
        """JSON of every rank, by rank; null where a rank has said nothing."""
        mine = torch.frombuffer(bytearray(own.encode() or b"null"), dtype=torch.uint8)
        lengths = [int(count) for (count,) in self.numbers([len(mine)])]
        padded = torch.zeros(max(lengths), dtype=torch.uint8)
        padded[: len(mine)] = mine
        texts = self.gather(padded)
        return [
            json.loads(text[:length].numpy().tobytes())
            for text, length in zip(texts, lengths, strict=True)
        ]


ALONE = Ranks()
"""One process that nobody trains beside."""


@contextmanager
def joined(launch: Launch | None, timeout: timedelta = TIMEOUT) -> Iterator[Ranks]:
    """The ranks of a training, from when they have found each other until the block ends.

    Where a rank raises, the others are told and raise too, so that all end: the first one with the
    words and the exit code of whichever failed first, so that one place tells.

    Args:
        launch: Which of the ranks this is, as torchrun says; None is one process alone.
        timeout: How long a call waits for a rank that does not answer.

    Raises:
        RankError: Another rank failed or is gone.
        ToldElsewhereError: Something failed, here or elsewhere, and the first rank has told it.
    """
    if launch is None:
        yield ALONE
        return
    try:
        store, rank, size = next(dist.rendezvous("env://", timeout=timeout))  # type: ignore[attr-defined]
        # After a restart torchrun's store may hold what was said before it.
        attempt = os.environ.get(RESTARTS, "0")
        store = dist.PrefixStore(f"lorarec/{attempt}", store)  # type: ignore[attr-defined]
        dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=timeout)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"Rank {launch.rank} did not find the other {launch.ranks - 1}: {_line(error)}. "
            f"Expected all {launch.ranks} to start within {timeout}; start every machine's with "
            f"torchrun and the same --rdzv-endpoint."
        ) from error
    ranks = Ranks(rank, size, launch.local_rank)
    try:
        yield ranks
    except BaseException as error:
        raise _ended(ranks, store, error) from error
    else:
        dist.destroy_process_group()


def _ended(ranks: Ranks, store: Any, error: BaseException) -> BaseException:
    """What a rank ends with after an error of its own, or after another rank's."""
    name = f"Rank {ranks.rank} of {ranks.size}"
    own = not isinstance(error, RankError)
    code = getattr(error, "exit_code", 130 if isinstance(error, KeyboardInterrupt) else 3)
    failed: dict[str, Any] | None = None
    with suppress(RuntimeError):  # the store is gone with the process that held it
        if own:
            record = {"text": f"{name} ended: {_words(error)}", "code": code}
            store.compare_set(_FAILURE, "", json.dumps(record))
        elif store.check([_FAILURE]):
            failed = json.loads(store.get(_FAILURE))
    # This closes the connections: whoever waits for this rank learns that it is gone.
    dist.destroy_process_group()
    if ranks.first:
        with suppress(RuntimeError):
            store.set(_TOLD, "1")
        return error if failed is None else RankError(failed["text"], failed["code"])
    told = False
    deadline = time.monotonic() + HEARD
    with suppress(RuntimeError, KeyboardInterrupt):
        while not told and time.monotonic() < deadline:
            time.sleep(0.05)  # a wait of the store's own could not be broken off
            told = store.check([_TOLD])
        time.sleep(GRACE if told else 0)
    if told:
        return ToldElsewhereError(f"{name} ended.", failed["code"] if failed else code)
    return RankError(f"{name} ended: {_words(error)}", code)


def _words(error: BaseException) -> str:
    if isinstance(error, LorarecError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "It was stopped."
    return f"Unexpected error: {type(error).__name__}: {error}"


def _line(error: BaseException) -> str:
    """The first sentence of an error, without the place in the source that gloo begins with."""
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"^\[[^\]]*\] *", "", first).partition(". ")[0]


def _fulfil(made: Future[Made], make: Callable[[], Made]) -> None:
    try:
        made.set_result(make())
    except BaseException as error:
        made.set_exception(error)


@contextmanager
def _listening() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise RankError(
            f"Another rank is gone or did not answer ({_line(error)}). Expected all ranks to go "
            f"on; look at what they and torchrun said, and start again, with --resume where there "
            f"is a checkpoint."
        ) from error
