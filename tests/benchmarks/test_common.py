"""What every benchmark shares: kept arms, the list of measures, the refusal without data."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pages import ROOT


@pytest.fixture
def common(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import common

    return common


def test_a_finished_arm_is_made_once(common: ModuleType, tmp_path: Path) -> None:
    made = []

    def make() -> dict[str, object]:
        made.append(1)
        return {"run": "runs:/1", "values": np.arange(3.0)}

    for _ in range(2):
        found = common.Cache(tmp_path / "kept", {"data": "d1"}).arm("ease", make, l2=100.0)
        assert str(found["run"]) == "runs:/1"
        assert found["values"].tolist() == [0.0, 1.0, 2.0]
    assert len(made) == 1
    common.Cache(tmp_path / "kept", {"data": "d1"}).arm("ease", make, l2=50.0)
    common.Cache(tmp_path / "kept", {"data": "d2"}).arm("ease", make, l2=100.0)
    assert len(made) == 3


def test_an_interrupted_arm_leaves_nothing(common: ModuleType, tmp_path: Path) -> None:
    def stopped() -> dict[str, object]:
        raise KeyboardInterrupt

    cache = common.Cache(tmp_path / "kept")
    with pytest.raises(KeyboardInterrupt):
        cache.arm("ease", stopped)
    assert list(tmp_path.rglob("*.npz")) == []
    assert cache.arm("ease", lambda: {"value": 2.0})["value"] == 2.0


def test_the_measures_have_five_keys_and_finite_numbers(
    common: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measures = common.Measures()
    measures.add("de_lora_recall_at_20", 0.25, "recall")
    with pytest.raises(ValueError, match="already there"):
        measures.add("de_lora_recall_at_20", 0.5, "recall")
    with pytest.raises(ValueError, match="finite"):
        measures.add("jp_lora_recall_at_20", float("nan"), "recall")
    measures.leave_out("*_seed_*", "one seed")
    measures.finish(tmp_path / "new" / "found.json")
    row = {"name": "de_lora_recall_at_20", "value": 0.25, "unit": "recall"}
    found = json.loads((tmp_path / "new" / "found.json").read_text(encoding="utf-8"))
    assert found == [{**row, "peer": None, "ratio": None}]
    assert "Not measured: *_seed_*: one seed" in capsys.readouterr().out


@pytest.mark.parametrize("value", [None, "nowhere"])
def test_without_the_data_it_says_what_is_expected(
    common: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: str | None,
) -> None:
    monkeypatch.delenv("LORAREC_DATA", raising=False)
    if value is not None:
        monkeypatch.setenv("LORAREC_DATA", value)
    with pytest.raises(SystemExit) as ended:
        common.data_folder("xmarket_electronics")
    assert ended.value.code == 2
    assert "Expected the folder of the data sets" in capsys.readouterr().err
