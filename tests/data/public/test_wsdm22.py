from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from lorarec.data.public.get import import_data
from lorarec.errors import DataError

Imported = Callable[..., pl.DataFrame]
Write = Callable[..., Path]
HEADER = "userId\titemId\trating\n"


@pytest.fixture
def cup(write: Write) -> Path:
    write("t1/train.tsv", f"{HEADER}t1U1\tP1\t5.0\nt1U1\tP1\t4.0\nt1U2\tP2\t2.0\n")
    write("t1/train_5core.tsv", f"{HEADER}t1U1\tP1\t1.0\nt1U2\tP3\t1.0\n")
    write("t1t2/valid_qrel.tsv", "not a market\n")
    return write("t1/valid_qrel.tsv", f"{HEADER}t1U2\tP4\t1\n")


def test_train_then_what_only_the_5core_has_then_valid(cup: Path, imported: Imported) -> None:
    logs = imported("wsdm22-xmrec", cup)
    assert logs.select("user_id", "item_id", "rating", "split").rows() == [
        ("t1U1", "P1", 5.0, "train"),
        ("t1U1", "P1", 4.0, "train"),
        ("t1U2", "P2", 2.0, "train"),
        ("t1U2", "P3", None, "train"),
        ("t1U2", "P4", None, "valid"),
    ]
    assert set(logs["domain"]) == {"t1"}


def test_that_there_is_no_test_is_told(cup: Path, tmp_path: Path) -> None:
    assert "no test" in import_data("wsdm22-xmrec", cup, tmp_path / "out").notes[0]


def test_one_market_by_its_folder(cup: Path, imported: Imported) -> None:
    assert imported("wsdm22-xmrec", cup / "t1").height == 5


def test_one_file_by_its_path(cup: Path, imported: Imported) -> None:
    logs = imported("wsdm22-xmrec", cup / "t1" / "train.tsv")
    assert logs.height == 3
    assert logs["split"].null_count() == 3


def test_markets_are_domains_and_select(cup: Path, write: Write, imported: Imported) -> None:
    write("s1/train.tsv", f"{HEADER}s1U1\tP1\t5.0\n")
    assert imported("wsdm22-xmrec", cup, market=["s1"])["domain"].to_list() == ["s1"]


def test_labels_without_a_header_are_read_too(cup: Path, write: Write, imported: Imported) -> None:
    write("t1/valid_qrel.tsv", "t1U2\tP4\t1\n")
    assert imported("wsdm22-xmrec", cup).height == 5


def test_another_form_is_told(write: Write, imported: Imported) -> None:
    with pytest.raises(DataError, match=r"t1/train\.tsv has 2 columns"):
        imported("wsdm22-xmrec", write("t1/train.tsv", "t1U1\tP1\n"))
