"""The arms of the adapters' benchmark do the same work, and its measures are what they say."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from pages import ROOT

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("peft", reason="PEFT is a dependency of development alone")


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def same(first: Any, second: Any) -> None:
    """Both score alike after a step of SGD that moved the scores, and are as before it again."""
    scores = [torch.stack(arm.after_sgd()) for arm in (first, second)]
    assert float((scores[0] - scores[1]).abs().max()) < 1e-5
    assert float((scores[0][1] - scores[0][0]).abs().max()) > 1e-2
    assert torch.equal(first.after_sgd()[0], scores[0][0])


@pytest.mark.parametrize("peer", ["PEFT, Adam", "PEFT, fused Adam"])
def test_our_adapter_and_peft_s_take_the_same_step(peer: str) -> None:
    from benchmarks.adapter_arms import Arm, World

    world = World(2_000, 2)
    same(Arm("lorarec", world), Arm(peer, world))


def test_both_ways_of_full_fine_tuning_take_the_same_step() -> None:
    from benchmarks.adapter_arms import FULL, Arm, World

    world = World(2_000, 2)
    first, second = (Arm(name, world) for name in FULL)
    same(first, second)


@pytest.mark.parametrize("peer", ["lorarec, one by one", "PEFT, one by one, fused Adam"])
def test_a_stack_and_a_loop_over_domains_take_the_same_step(peer: str) -> None:
    from benchmarks.adapter_arms import World
    from benchmarks.domain_arms import STACKED, DomainArm

    world = World(2_000, 2)
    same(DomainArm(STACKED, world, 4), DomainArm(peer, world, 4))


def test_processes_in_turns_come_to_the_ratio_of_their_medians() -> None:
    from benchmarks.common import Measures
    from benchmarks.lora_steps import step_cost

    measures = Measures()
    step_cost(True, measures)
    found = {row["name"]: row["value"] for row in measures.rows}
    ratio = found["step_10k_peer_ms"] / found["step_10k_ours_ms"]
    assert found["step_vs_peft_fused_10k"] == pytest.approx(ratio)
    assert found["step_10k_ours_peak_mib"] > 50
    assert "step_vs_peft_fused_1m" in measures.missing[0]


def test_arms_that_differ_end_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.step_workers import _check

    class Worker:
        def __init__(self, arm: str, score: float) -> None:
            self.arm, self.score = arm, score

        def ask(self, line: str) -> None:
            import numpy as np

            np.save(line.split(" ", 1)[1], np.array([[0.0], [self.score]]))

    _check([Worker("a", 1.0), Worker("b", 1.000001)], (("a", "b"),))  # type: ignore[list-item]
    for other in (1.0001, float("nan")):
        with pytest.raises(SystemExit):
            _check([Worker("a", 1.0), Worker("b", other)], (("a", "b"),))  # type: ignore[list-item]
    with pytest.raises(SystemExit):  # a step that moves nothing proves nothing
        _check([Worker("a", 0.0), Worker("b", 0.0)], (("a", "b"),))  # type: ignore[list-item]


def test_adapters_share_the_base_and_are_smaller_than_peft_s(tmp_path: Any) -> None:
    from benchmarks.common import Measures
    from benchmarks.lora_storage import sizes_on_disk, switching

    measures = Measures()
    switching(True, measures)
    sizes_on_disk(True, measures)
    found = {row["name"]: row["value"] for row in measures.rows}
    assert found["switch_40_over_10"] > 0  # what it is, a loaded machine cannot tell
    # 2,000 users take 32 KiB as strings alone, and 12,000 vectors 3 MiB.
    assert found["held_kib_an_adapter"] < 200
    assert found["bytes_vs_peft_small"] > 20
    assert found["adapter_peer_bytes"] > 20_000 * 8 * 4
