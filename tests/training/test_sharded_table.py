"""Two processes that hold half of the tables each train what two do that have them whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ranks import CASES, ITEMS, SHARDED, USERS, furthest, trained
from scenarios import SCENARIOS, Ended
from torch import Tensor, nn

from lorarec.errors import ArtifactError
from lorarec.storage import read_tensors
from lorarec.training.checkpoint import Checkpoints
from lorarec.training.hybrid import HybridOptimizer
from lorarec.training.sharding import Shard, Spread

TOLERANCE = 1e-5
"""Largest difference of a weight to whole tables' after four epochs, of weights of about 1. Seen:
2.4e-7 where gradients are clipped, 1.0e-6 for two towers, none elsewhere."""
RUN = [name for name in SCENARIOS if name.startswith("sharded") or f"sharded {name}" in SHARDED]
TABLES = {"users.weight": USERS, "items.weight": ITEMS}


@pytest.mark.parametrize("name", SHARDED)
def test_in_shards_they_train_what_they_do_with_whole_tables(
    ended: dict[str, Ended], name: str
) -> None:
    whole = ended[name.removeprefix("sharded ")]
    assert furthest(ended[name].weights[0], whole.weights[0]) < TOLERANCE
    ours, theirs = ended[name].told[0]["epochs"], whole.told[0]["epochs"]
    for own, others in zip(ours, theirs, strict=True):
        assert own == pytest.approx(others, rel=1e-5)


@pytest.mark.parametrize("name", SHARDED)
def test_what_is_not_in_shards_is_the_same_bits_on_both(ended: dict[str, Ended], name: str) -> None:
    first, second = ended[name].weights
    assert set(first) - set(second) == set(TABLES)
    assert all(torch.equal(first[parameter], second[parameter]) for parameter in second)
    assert ended[name].told[0] == ended[name].told[1]


def test_broken_off_in_shards_they_go_on_to_the_same_bits(ended: dict[str, Ended]) -> None:
    resumed, straight = ended["sharded and resumed"], ended["sharded softmax"]
    assert furthest(resumed.weights[0], straight.weights[0]) == 0.0
    assert resumed.told == straight.told


def test_a_rank_holds_its_half_of_tables_best_average_and_moments(
    ended: dict[str, Ended], ranks_folder: Path
) -> None:
    assert ended["sharded and resumed"].weights
    files = (ranks_folder / "shards").glob("checkpoint-*.safetensors")
    (common,) = (file for file in files if "of2" not in file.name)
    spread = Spread(TABLES)
    assert not [name for name in read_tensors(common) if spread.table_of(name) is not None]
    for rank in range(2):
        (file,) = (ranks_folder / "shards").glob(f"checkpoint-*-{rank}of2.safetensors")
        found = {name: len(array) for name, array in read_tensors(file).items()}
        parts = ["parameter/{}", "best/{}", "average/{}", "optimizer/rows/{}/moments"]
        names = {part.format(table): table for part in parts for table in TABLES}
        assert names.keys() <= found.keys()
        assert all(found[name] == TABLES[table] // 2 for name, table in names.items())


def test_one_process_goes_on_from_what_two_shards_began(
    ended: dict[str, Ended], ranks_folder: Path
) -> None:
    going_on = Checkpoints(ranks_folder / "shards", {"data": "d"}, resume=True)
    resumed, _ = trained(CASES["softmax"], checkpoints=going_on)
    assert going_on.there == 15
    assert furthest(resumed, ended["sharded softmax"].weights[0]) < TOLERANCE


def test_shards_go_on_from_what_one_process_began(tmp_path: Path) -> None:
    saving = Checkpoints(tmp_path, {"data": "d"}, every_steps=3)
    trained(CASES["softmax"], checkpoints=saving, epochs=1)
    found = Checkpoints(tmp_path, {"data": "d"}, resume=True)
    whole = found.load()
    assert whole is not None
    for rank in range(3):
        own = found.load(Spread(TABLES, Shard(rank, 3)))
        assert own is not None
        assert own[1] == whole[1]
        for name, tensor in whole[0].items():
            cut = "users.weight" in name or "items.weight" in name
            assert torch.equal(own[0][name], tensor[rank::3] if cut else tensor)


def test_a_damaged_shard_is_refused(
    ended: dict[str, Ended], ranks_folder: Path, tmp_path: Path
) -> None:
    assert ended["sharded and resumed"].weights
    shutil.copytree(ranks_folder / "shards", tmp_path / "damaged")
    (second,) = (tmp_path / "damaged").glob("*-1of2.safetensors")
    second.write_bytes(second.read_bytes()[:-4] + b"abcd")
    found = Checkpoints(tmp_path / "damaged", {"data": "d"}, resume=True)
    assert found.load(Spread(TABLES, Shard(0, 2))) is not None
    with pytest.raises(ArtifactError, match="has digest"):
        found.load(Spread(TABLES, Shard(1, 2)))


@pytest.mark.parametrize(
    ("name", "kinds", "words"),
    [
        ("sharded rank 1 fails", {"RankError"}, "Rank 1 of 2 ended: The disk of this rank is full"),
        ("sharded out of memory", {"RankError"}, "not halved with --shard-tables"),
    ],
)
def test_where_a_rank_fails_nobody_waits_for_its_rows(
    ended: dict[str, Ended], name: str, kinds: set[str], words: str
) -> None:
    first, second = ended[name].told
    assert first["kind"] in kinds
    assert words in first["text"]
    assert first["code"] == second["code"] == 2


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 7))
def test_any_number_of_shards_is_cut_anew(rows: int, before: int, after: int) -> None:
    table = torch.arange(rows * 2.0).view(rows, 2)
    old = {Shard(rank, before): Shard(rank, before).of(table) for rank in range(before)}
    for rank in range(after):
        shard = Shard(rank, after)
        parts = {other: part for other, part in old.items() if shard.meets(other)}
        assert torch.equal(shard.taken(parts, rows), shard.of(table))
        assert shard.count(rows) == len(shard.of(table))


def test_rows_of_a_shard_that_was_never_touched_are_zero() -> None:
    found = Shard().taken({Shard(1, 2): torch.ones(2, 3)}, 5)
    assert found[:, 0].tolist() == [0.0, 1.0, 0.0, 1.0, 0.0]


def test_clipping_asks_for_the_norm_of_all() -> None:
    parameter = nn.Parameter(torch.zeros(1))

    def norm(parameters: list[nn.Parameter]) -> Tensor:
        assert [p.grad for p in parameters] == [torch.tensor([3.0])]
        return torch.tensor(6.0)  # there is more elsewhere

    parameter.grad = torch.tensor([3.0])
    HybridOptimizer({"p": parameter}, clip_norm=2.0, norm=norm).step()
    assert float(parameter.grad) == pytest.approx(1.0)
