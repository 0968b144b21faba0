from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from lorarec.data.features import FeatureSpec


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"kind": "numeric", "min_count": 5}, "min_count is of categorical and categories, not"),
        ({"kind": "categorical", "log1p": True}, "log1p is of numeric, not of categorical"),
        ({"kind": "categories", "dim": 3}, "dim is of vector, not of categories"),
        ({"kind": "vector"}, "a vector needs dim"),
        ({"kind": "numeric", "clip": float("inf")}, "finite number"),
        ({"kind": "colour"}, "Input should be 'categorical'"),
        ({"kind": "numeric", "colour": 1}, "Extra inputs"),
    ],
)
def test_contradictions_are_sentences(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        FeatureSpec(name="age", **fields)


def test_a_spec_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        FeatureSpec(name="age", kind="numeric").log1p = True  # type: ignore[misc]


def test_a_dumped_spec_comes_back() -> None:
    spec = FeatureSpec(name="image", kind="vector", dim=3, normalise=False)
    assert FeatureSpec.model_validate(spec.model_dump()) == spec
