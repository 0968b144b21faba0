from __future__ import annotations

import pytest

from lorarec.errors import ConfigError
from lorarec.launch import Launch, launched

SECOND = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_PORT": "29500"}


def test_torchrun_says_which_process_it_is() -> None:
    assert launched(SECOND) == Launch(rank=3, ranks=4, local_rank=1)


@pytest.mark.parametrize("missing", ["RANK", "WORLD_SIZE", "LOCAL_RANK"])
def test_with_a_variable_missing_it_was_not_torchrun(missing: str) -> None:
    assert launched({name: text for name, text in SECOND.items() if name != missing}) is None


@pytest.mark.parametrize("wrong", [{"RANK": "4"}, {"RANK": "-1"}, {"WORLD_SIZE": "two"}])
def test_what_torchrun_would_not_set_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="as torchrun sets them"):
        launched({**SECOND, **wrong})
