"""Foreign models read: what each file gives, and what is refused with a word."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import save_file

from lorarec.errors import ArtifactError, DataError, LorarecError, NotFoundError
from lorarec.models.importing.factors import Factors, factors_of
from lorarec.models.importing.reading import read_factors
from lorarec.storage import sha256_file

USERS = np.arange(6, dtype=np.float32).reshape(3, 2)
ITEMS = np.arange(8, dtype=np.float32).reshape(4, 2) - 3


def npz(folder: Path, **parts: Any) -> list[Path]:
    np.savez(folder / "m.npz", **parts)
    return [folder / "m.npz"]


def npy(folder: Path) -> list[Path]:
    np.save(folder / "users.npy", USERS)
    np.save(folder / "items.npy", ITEMS)
    return [folder / "users.npy", folder / "items.npy"]


def tensors() -> dict[str, torch.Tensor]:
    return {
        "net.user_embedding.weight": torch.from_numpy(USERS),
        "net.item_embedding.weight": torch.from_numpy(ITEMS),
    }


def safetensors(folder: Path) -> list[Path]:
    save_file(tensors(), folder / "m.safetensors")
    return [folder / "m.safetensors"]


def state_dict(folder: Path) -> list[Path]:
    torch.save({"epoch": 3, "state": tensors()}, folder / "m.pt")
    return [folder / "m.pt"]


def tables(folder: Path) -> list[Path]:
    vectors = pl.Series(USERS.tolist(), dtype=pl.Array(pl.Float32, 2))
    pl.DataFrame({"user_id": ["a", "b", "c"], "vector": vectors}).write_parquet(
        folder / "users.parquet"
    )
    pl.DataFrame({"id": [7, 8, 9, 10], "emb": ITEMS.tolist()}).write_parquet(
        folder / "items.parquet"
    )
    return [folder / "users.parquet", folder / "items.parquet"]


def named(folder: Path) -> list[Path]:
    return npz(folder, users=USERS.astype(np.float64), items=ITEMS)


@pytest.mark.parametrize("write", [named, npy, safetensors, state_dict, tables])
def test_every_kind_of_file_gives_the_same_vectors(
    tmp_path: Path, write: Callable[[Path], list[Path]]
) -> None:
    paths = write(tmp_path)
    found = read_factors(paths, {})
    assert found.users.dtype == found.items.dtype == np.float32
    assert (found.users == USERS).all()
    assert (found.items == ITEMS).all()
    assert found.files == {path.name: sha256_file(path) for path in paths}
    assert (read_factors([tmp_path], {}).items == ITEMS).all()


def test_tables_bring_their_ids(tmp_path: Path) -> None:
    found = read_factors(tables(tmp_path), {})
    assert found.user_ids is not None
    assert found.item_ids is not None
    assert found.user_ids.ids.tolist() == ["a", "b", "c"]
    assert found.item_ids.ids.tolist() == ["7", "8", "9", "10"]


def test_arrays_of_any_name_are_taken_by_a_map_and_the_others_told(tmp_path: Path) -> None:
    path = npz(tmp_path, P=USERS, Q=ITEMS, mlp=np.ones((2, 2)), b=np.ones(4))
    found = read_factors(path, {"users": "P", "items": "Q", "item_bias": "b"})
    assert found.item_bias is not None
    assert found.item_bias.tolist() == [1, 1, 1, 1]
    assert "Left out: mlp (2, 2)" in found.notes[0]


def test_bfloat16_is_widened(tmp_path: Path) -> None:
    save_file({n: t.bfloat16() for n, t in tensors().items()}, tmp_path / "m.safetensors")
    assert (read_factors([tmp_path / "m.safetensors"], {}).users == USERS).all()


@given(
    arrays(np.float32, (3, 2), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)),
    arrays(np.float32, (2, 2), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)),
)
def test_finite_float32_goes_through_unchanged(users: Any, items: Any) -> None:
    found = factors_of({"users": users, "items": items}, "npz", "m.npz")
    assert found.users.tobytes() == users.tobytes()
    assert found.items.tobytes() == items.tobytes()


def with_hole(value: float) -> np.ndarray[Any, Any]:
    broken = ITEMS.copy()
    broken[2, 1] = value
    return broken


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"items": with_hole(np.nan)}, r"items of m.npz have NaN or infinity in 1 of 4 rows.* 2\."),
        ({"items": with_hole(np.inf)}, r"in 1 of 4 rows, the first 2\."),
        ({"items": ITEMS.astype(np.float64) * 1e300}, "within float32"),
        (
            {"items": with_hole(np.nan), "item_ids": np.array(["a", "b", "c", "d"])},
            r"the first 2 \(c\)",
        ),
        ({"items": ITEMS.astype(np.int64)}, "hold int64 values. Expected float16"),
        ({"items": ITEMS.ravel()}, r"have the shape \(8,\)"),
        ({"items": ITEMS[:0]}, r"have the shape \(0, 2\)"),
        ({"items": ITEMS[:, :1]}, "2 numbers a row, its items 1"),
        ({"users": USERS[:2], "items": np.ones((2, 5), np.float32)}, "seem to be transposed"),
        ({"item_bias": np.ones(3)}, r"Expected a float for each row: \(4,\)"),
        ({"item_bias": np.array([1, 2, np.nan, 4])}, "item_bias of m.npz have NaN"),
        ({"item_ids": np.array(["a", "b"])}, "2 item ids for the 4 item rows"),
        ({"item_ids": np.array(["a", "b", "a", "c"])}, "2 ids repeat: 'a'"),
        ({"item_ids": np.array(["a", "", "b", "c"])}, "empty in row 1"),
        ({"item_ids": np.array([1.0, 2.0, 3.0, 4.0])}, "Expected text or integers"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, parts: dict[str, Any], said: str) -> None:
    path = npz(tmp_path, **({"users": USERS, "items": ITEMS} | parts))
    with pytest.raises(DataError, match=said):
        read_factors(path, {})


def test_a_missing_array_is_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"known for items. It has: itms \(4, 2\), users \(3, 2\)"):
        read_factors(npz(tmp_path, users=USERS, itms=ITEMS), {})


def test_a_wrong_name_gets_the_nearest(tmp_path: Path) -> None:
    path = state_dict(tmp_path)
    with pytest.raises(DataError, match=r"Did you mean 'state\.net\.user_embedding\.weight'"):
        read_factors(path, {"users": "net.user_embeddings.weight"})
    with pytest.raises(DataError, match="Did you mean 'users'"):
        read_factors(path, {"user": "state.net.user_embedding.weight"})


def test_two_arrays_of_a_known_name_are_not_guessed_between(tmp_path: Path) -> None:
    more = tensors() | {"other.user_embedding.weight": torch.ones(3, 2)}
    save_file(more, tmp_path / "m.safetensors")
    with pytest.raises(DataError, match="2 arrays that may be the users"):
        read_factors([tmp_path / "m.safetensors"], {})


class _Runs:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("it-ran"),)


def test_python_objects_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"users": _Runs()}, "m.pt")
    Path("plain.pt").write_bytes(pickle.dumps(_Runs()))
    np.savez("m.npz", users=np.array([_Runs()], dtype=object), items=ITEMS)
    for name in ("m.pt", "plain.pt", "m.npz"):
        with pytest.raises(ArtifactError, match=f"{name} cannot be read.*run code"):
            read_factors([Path(name)], {})
    assert not Path("it-ran").exists()


@pytest.mark.parametrize("write", [named, npy, safetensors, state_dict, tables])
@pytest.mark.parametrize("harm", ["cut", "text", "empty"])
def test_a_broken_file_is_a_word_and_no_traceback(
    tmp_path: Path, write: Callable[[Path], list[Path]], harm: str
) -> None:
    paths = write(tmp_path)
    whole = paths[0].read_bytes()
    paths[0].write_bytes({"cut": whole[: len(whole) // 2], "text": b"hello", "empty": b""}[harm])
    with pytest.raises(LorarecError, match=paths[0].name):
        read_factors(paths, {})


def test_a_flipped_byte_in_an_npz_is_noticed(tmp_path: Path) -> None:
    (path,) = named(tmp_path)
    content = bytearray(path.read_bytes())
    place = content.index(ITEMS.tobytes())
    content[place + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"m\.npz cannot be read.*items"):
        read_factors([path], {})


@pytest.mark.parametrize("rows", [[[1.0, 2.0], [3.0]], [[1.0, 2.0], None], [[1.0, 2.0], [None, 1]]])
def test_a_ragged_or_null_vector_is_named(tmp_path: Path, rows: list[Any]) -> None:
    paths = tables(tmp_path)
    pl.DataFrame({"user_id": ["a", "b"], "v": rows}).write_parquet(paths[0])
    with pytest.raises(DataError, match=r"1 of 2 vectors|2 of 2 vectors"):
        read_factors(paths, {})


def test_other_paths_are_refused_with_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no file .*nothing.npz"):
        read_factors([tmp_path / "nothing.npz"], {})
    (tmp_path / "m.pkl").touch()
    with pytest.raises(DataError, match="not a kind of file that is known"):
        read_factors([tmp_path / "m.pkl"], {})
    with pytest.raises(DataError, match="one side of a model"):
        read_factors(npy(tmp_path)[:1], {})
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no models"):
        read_factors([tmp_path / "empty"], {})


def test_factors_know_their_length(tmp_path: Path) -> None:
    found: Factors = read_factors(named(tmp_path), {})
    assert found.dim == 2
