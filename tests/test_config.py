"""Settings: three sources in order, and a sentence for everything that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lorarec.config import Settings, load_settings
from lorarec.config.settings import field_keys
from lorarec.errors import ConfigError

pytestmark = pytest.mark.usefixtures("bare_project")


def refused(*overrides: str, **environ: str) -> str:
    """What is said of wrong settings."""
    with pytest.raises(ConfigError) as caught:
        load_settings(environ=environ, overrides=overrides)
    return str(caught.value)


def test_defaults_without_any_source() -> None:
    found = load_settings(environ={})
    assert found == Settings()
    assert (found.data.split, found.model.dim, found.evaluate.k) == ("time", 128, (10, 20, 50))


def test_the_file_of_the_working_directory_is_read() -> None:
    Path("lorarec.toml").write_text('[train]\nepochs = 7\n[data.columns]\nuser_id = "customer"\n')
    found = load_settings(environ={})
    assert found.train.epochs == 7
    assert found.data.columns == {"user_id": "customer"}


def test_environment_beats_file_and_set_beats_environment() -> None:
    file = Path("other.toml")
    file.write_text("[train]\nepochs = 1\nseed = 1\npatience = 1\n")
    found = load_settings(
        file,
        environ={"LORAREC_TRAIN__EPOCHS": "2", "LORAREC_TRAIN__SEED": "2"},
        overrides=["train.seed=3", "train.seed=4"],
    )
    assert (found.train.patience, found.train.epochs, found.train.seed) == (1, 2, 4)


def test_a_named_file_must_exist() -> None:
    with pytest.raises(ConfigError, match=r"none\.toml does not exist"):
        load_settings(Path("none.toml"), environ={})


@pytest.mark.parametrize("content", [b"[train\n", b"[train]\nepochs = \n", b"\xff\xfe"])
def test_broken_toml_is_refused(content: bytes) -> None:
    Path("lorarec.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"lorarec\.toml is not TOML"):
        load_settings(environ={})


def test_broken_toml_names_the_line() -> None:
    Path("lorarec.toml").write_text("[train]\n\nepochs = five\n")
    with pytest.raises(ConfigError, match="line 3"):
        load_settings(environ={})


def test_a_folder_as_settings_file_is_refused() -> None:
    Path("lorarec.toml").mkdir()
    with pytest.raises(ConfigError, match="could not be read"):
        load_settings(environ={})


def test_lorarec_data_is_no_setting() -> None:
    assert load_settings(environ={"LORAREC_DATA": "/anywhere"}) == Settings()


def test_a_setting_of_the_data_section_is_one() -> None:
    found = load_settings(environ={"LORAREC_DATA__SPLIT": "random"})
    assert found.data.split == "random"


def test_an_empty_variable_is_not_given() -> None:
    assert load_settings(environ={"LORAREC_TRACKING__URI": ""}) == Settings()


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("evaluate.k=5,10", "k", (5, 10)),
        ("evaluate.k=[5, 10]", "k", (5, 10)),
        ("evaluate.k=5", "k", (5,)),
        ("evaluate.k=5.0", "k", (5,)),
        ("evaluate.arms=base,lora", "arms", ("base", "lora")),
        ("evaluate.arms=base", "arms", ("base",)),
        ("adapt.learning_rate_grid=1", "learning_rate_grid", (1.0,)),
        ("adapt.learning_rate_grid=1.0", "learning_rate_grid", (1.0,)),
        ("adapt.learning_rate_grid=0.5,2", "learning_rate_grid", (0.5, 2.0)),
    ],
)
def test_lists_may_be_written_with_commas(text: str, key: str, value: object) -> None:
    found = load_settings(environ={}, overrides=[text])
    assert getattr(getattr(found, text.partition(".")[0]), key) == value


def test_text_settings_keep_what_looks_like_a_number_or_a_date() -> None:
    found = load_settings(
        environ={"LORAREC_TRACKING__EXPERIMENT": "1e3"}, overrides=["adapt.targets=2026-01-01"]
    )
    assert (found.tracking.experiment, found.adapt.targets) == ("1e3", "2026-01-01")


def test_none_unsets_an_optional_setting() -> None:
    Path("lorarec.toml").write_text("[train]\nthreads = 2\n")
    assert load_settings(environ={}, overrides=["train.threads=none"]).train.threads is None


def test_an_unknown_key_names_itself_its_source_and_the_nearest() -> None:
    said = refused("train.epoch=5")
    assert (
        said == "Unknown setting 'train.epoch' in --set train.epoch=5. Did you mean 'train.epochs'?"
    )
    assert "the environment variable LORAREC_TRAIN__EPOCH" in refused(LORAREC_TRAIN__EPOCH="5")
    Path("lorarec.toml").write_text("[train]\nepoch = 5\n")
    assert "'train.epoch' in lorarec.toml" in refused()


def test_an_unknown_section_and_a_forgotten_one_get_names() -> None:
    assert "Did you mean 'train'?" in refused("trian.epochs=5")
    assert "'train.epochs' or 'adapt.epochs'" in refused("epochs=5")
    assert "There are: adapt, data" in refused("nonsense.thing=1")
    assert "There are: evaluate.arms" in refused("evaluate.zzzzzz=1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train.epochs=five", ["train.epochs is 'five'", "integer"]),
        ("train.epochs=0", ["is 0", "greater than or equal to 1"]),
        ("model.dim=9999", ["is 9999", "4096"]),
        ("model.temperature=0", ["greater than 0"]),
        ("train.learning_rate=nan", ["finite"]),
        ("data.split=tiem", ["'leave-last-out'", "Did you mean 'time'?"]),
        ("train.device=gpu", ["auto, cpu, mps, cuda or cuda:N"]),
        ("train=5", ["a table of settings, such as train.epochs"]),
        ("evaluate.k=10,0", ["evaluate.k is 0"]),
        ("evaluate.k=10,10", ["none of them twice"]),
        ("evaluate.k=[]", ["at least one value"]),
        ("evaluate.k=2.5", ["evaluate.k is 2.5", "integer"]),
        ("evaluate.arms=[]", ["evaluate.arms is", "at least one value"]),
        ("adapt.learning_rate_grid=[]", ["learning_rate_grid is", "at least one value"]),
        ("adapt.learning_rate_grid=0.0", ["learning_rate_grid is 0.0", "greater than 0"]),
        ("data.columns.user=uid", ["'user' is none", "'user_id'"]),
        ("data.columns.user_id=", ["is empty"]),
        ("data.valid_share=0.95", ["valid_share + test_share below 1", "1.05"]),
        ("train.epochs", ["not of the form key=value"]),
        ("=5", ["not of the form key=value"]),
    ],
)
def test_a_wrong_value_gets_found_and_expected(text: str, words: list[str]) -> None:
    said = refused(text)
    assert all(word in said for word in words), said


def test_every_mistake_is_told_at_once() -> None:
    assert len(refused("train.epochs=x", "model.dim=0", "a.b=1").splitlines()) == 3


def test_options_go_on_top_and_none_is_not_given() -> None:
    found = load_settings(environ={}).with_options(
        {"train.epochs": 5, "model.dim": None, "evaluate.k": "5,20"}
    )
    assert (found.train.epochs, found.model.dim, found.evaluate.k) == (5, 128, (5, 20))


def test_options_are_validated_too() -> None:
    with pytest.raises(ConfigError, match=r"adapt\.rank is 0 in the command's options"):
        load_settings(environ={}).with_options({"adapt.rank": 0})


def test_flat_has_a_plain_value_for_every_setting_of_what_is_made() -> None:
    flat = load_settings(environ={}, overrides=["data.columns.user_id=u"]).flat()
    by_column = ("data.columns", "data.events", "features.user_columns", "features.item_columns")
    known = {key for key in field_keys() if not key.startswith((*by_column, "pipeline."))}
    assert set(flat) == known | {"data.columns.user_id"}
    assert all(isinstance(value, str | int | float | bool) for value in flat.values())
    assert (flat["evaluate.k"], flat["tracking.uri"]) == ("10,20,50", "none")


def test_settings_are_frozen() -> None:
    found = load_settings(environ={})
    with pytest.raises(ValidationError):
        found.train.epochs = 5  # type: ignore[misc]


def test_every_setting_is_described() -> None:
    for section in Settings.model_fields.values():
        assert section.description
        fields = section.annotation.model_fields  # type: ignore[union-attr]
        assert all(field.description for field in fields.values())


@given(
    key=st.sampled_from([*field_keys(), "x", "train.", "a.b.c"]),
    value=st.text(max_size=20) | st.integers().map(str) | st.floats().map(str),
)
def test_any_text_is_a_setting_or_a_config_error(key: str, value: str) -> None:
    try:
        found = load_settings(environ={}, overrides=[f"{key}={value}"])
    except ConfigError:
        return
    assert found.with_options({}) == found


@pytest.mark.parametrize(
    "written",
    ["2026-11-01,2026-11-08", "1793491200, 1794096000", "2026-11-01T00:00:00Z,1794096000"],
)
def test_cut_offs_are_read_as_dates_or_seconds(written: str) -> None:
    found = load_settings(overrides=[f"data.cutoffs={written}"], environ={}).data.cutoffs
    assert found == (1793491200, 1794096000)


def test_cut_offs_in_a_file_may_be_dates(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[data]\ncutoffs = [2026-11-01, 2026-11-08, 1794096001]\n")
    assert load_settings(file, environ={}).data.cutoffs == (1793491200, 1794096000, 1794096001)


@pytest.mark.parametrize("written", ["5", "8,5", "5,5", "soon,later", "1,2,3,4"])
def test_cut_offs_that_are_none_are_refused(written: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.cutoffs.*2026-11-01,2026-11-08,2026-11-15"):
        load_settings(overrides=[f"data.cutoffs={written}"], environ={})


def test_cut_offs_go_with_time_alone() -> None:
    with pytest.raises(ConfigError, match='split = "time" with cutoffs'):
        load_settings(overrides=["data.cutoffs=5,8", "data.split=random"], environ={})
