"""The sections of lorarec.toml: one frozen model each, every field with its unit and range."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from lorarec.config.arms import Arm, every_arm
from lorarec.config.ranks import SINGLE, Rank
from lorarec.config.section import (
    COLUMNS,
    Device,
    PartShare,
    Positive,
    Section,
    Share,
    listed,
    moments,
    some,
)
from lorarec.errors import did_you_mean


class Data(Section):
    """How interaction logs are read and cut into train, valid and test."""

    columns: dict[str, str] = Field(default_factory=dict)
    """Contract name → the file's own name, such as `user_id = "customer"`."""

    events: dict[str, Annotated[float, Field(ge=0.0)]] = Field(default_factory=dict)
    """Event type → weight, 0 or above, such as `buy = 5`; the column `event` is then needed."""

    min_rating: float | None = None
    """Rows with a rating below this are dropped; rows without a rating stay. None keeps all."""

    rating_weight: bool = False
    """Let its `rating` weigh a row that has no `weight`. Otherwise such a row counts 1."""

    on_bad_rows: Literal["error", "quarantine", "drop"] = "error"
    """What `data prepare` does with rows that break the contract: refuse the logs, write them
    aside with the reason, or leave them out. All are counted on screen."""

    duplicates: Literal["keep", "last", "sum", "refuse"] = "keep"
    """What rows that repeat a (user, item, domain) do: keep all; keep the last by time; keep that
    one with the sum of the weights; or refuse the logs. `last` and `sum` resolve them after the
    split, within each part, so that no row of valid or test changes what trains."""

    min_user_rows: int = Field(default=0, ge=0)
    """Train rows that a user needs to be trained on, 0 or more; 0 and 1 ask for nothing. Together
    with `min_item_rows` this is the k-core of train, over all domains. Train rows outside of it
    are the part `outside-core`; valid and test rows stay, and their users and items are cold."""

    min_item_rows: int = Field(default=0, ge=0)
    """Train rows that an item needs to be trained on, 0 or more; 0 and 1 ask for nothing."""

    min_domain_rows: int = Field(default=100, ge=0)
    """Rows below which a domain is named as too small to adapt, 0 or more; 0 names none. It is a
    warning, and only `adapt --all-domains` leaves them out. `pretrain` and `adapt` count train
    rows, `data` all rows."""

    split: Literal["column", "time", "leave-last-out", "random"] = "time"
    """The `split` column, the global timeline, each user's last rows, or a seeded draw."""

    valid_share: PartShare = 0.1
    """Share of the rows kept for validation, from 0 to below 1. With 0, training stops after its
    epochs and keeps the last: for a refit once the epochs are chosen."""

    test_share: PartShare = 0.1
    """Share of the rows kept for the test, from 0 to below 1."""

    cutoffs: Annotated[tuple[int, ...] | None, BeforeValidator(moments)] = None
    """Where a split by time is cut, in place of the shares: the first moments of validation and of
    test, and the one after the test where it ends before the logs do. Dates or seconds, UTC."""

    @field_validator("columns")
    @classmethod
    def _contract_names(cls, value: dict[str, str]) -> dict[str, str]:
        for name, own in value.items():
            if name not in COLUMNS:
                raise ValueError(
                    f"names of the column contract on the left, such as user_id; "
                    f"{name!r} is none.{did_you_mean(name, COLUMNS)}"
                )
            if not own:
                raise ValueError(f"the file's own name for {name!r}, which is empty")
        return value

    @model_validator(mode="after")
    def _something_left_to_train_on(self) -> Self:
        if self.valid_share + self.test_share >= 1.0:
            raise ValueError(
                f"valid_share + test_share below 1, so that rows are left to train on; "
                f"they add up to {self.valid_share + self.test_share:g}"
            )
        return self

    @model_validator(mode="after")
    def _cutoffs_are_of_time(self) -> Self:
        if self.cutoffs is not None and self.split != "time":
            raise ValueError(f'split = "time" with cutoffs; it is {self.split!r}')
        return self


class Model(Section):
    """The base model's shape."""

    name: Literal["mf", "two-tower", "als", "bpr"] = "mf"
    """`mf`: matrix factorization; `two-tower`: with features, a history and layers besides; `als`
    and `bpr`: those of implicit, compared by dot product."""

    dim: int = Field(default=128, ge=1, le=4096)
    """Length of a user's and an item's vector, 1 to 4096."""

    similarity: Literal["cosine", "dot"] = "cosine"
    """How a user's and an item's vector are compared."""

    temperature: Positive = 0.15
    """τ above 0: cosine scores are divided by it. Smaller is sharper."""

    bias: bool = True
    """Whether items have a bias, which takes up their popularity; `als` never has, `bpr` always."""

    layers: Annotated[
        tuple[Annotated[int, Field(ge=1, le=65_536)], ...], BeforeValidator(listed)
    ] = ()
    """Two-tower: widths of each tower's hidden layers, such as `[256, 128]`; none is no layer."""

    layer_norm: bool = True
    """Two-tower: whether hidden layers are normalised."""

    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Two-tower: share of hidden values that training drops, 0 to below 1."""

    id_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Two-tower: share of users and items that a step looks at without their id, 0 to below 1, so
    that features and history learn to stand alone for new ones."""

    history: Literal["none", "mean", "attention"] = "mean"
    """Two-tower: how the vectors of a user's train items are pooled, alike or by learnt weights."""

    history_power: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    """Two-tower: the pool is a sum over n items divided by n to this power: 1 is the mean."""

    history_table: Literal["shared", "separate"] = "shared"
    """Two-tower: whether the history has the items' own vectors or others of its own."""


class Features(Section):
    """Side features of users and items, for the two-tower model."""

    users: str | None = None
    """A table with one row a user and the column `user_id`; None is none."""

    items: str | None = None
    """A table with one row an item and the column `item_id`; None is none."""

    user_columns: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Column of the users' table → what it is where its type does not say it well, such as
    `zip = { kind = "categorical", min_count = 5 }` or `name = { kind = "ignore" }`."""

    item_columns: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """The same of the items' table, such as `price = { kind = "numeric", log1p = true }`."""


class Train(Section):
    """How a base is trained."""

    epochs: int = Field(default=30, ge=1)
    """Passes over the training rows, at most; early stopping may end sooner."""

    batch_size: int = Field(default=1024, ge=1)
    """Training rows a step, of all processes together where torchrun has started several."""

    negatives: int = Field(default=4096, ge=1)
    """Sampled items of the row's own domain that a step contrasts its rows with; a catalogue that
    is not larger is taken whole."""

    learning_rate: Positive = 0.03
    """Step size of Adam, above 0."""

    tower_rate: Positive = 0.1
    """Step size of a tower's features and layers as a share of `learning_rate`, above 0."""

    weight_decay: float = Field(default=0.0, ge=0.0)
    """Pull of touched rows toward zero, 0 or more."""

    loss: Literal["softmax", "bpr", "ccl"] = "softmax"
    """Softmax over the catalogue or a sample of it, Bayesian personalised ranking, or the cosine
    contrastive loss. Adapters are trained by it too."""

    margin: float = Field(default=0.9, ge=-1.0, lt=1.0)
    """Of `ccl`: negatives with a cosine below it are left alone, from -1 to below 1."""

    negative_weight: float = Field(default=150.0, ge=0.0)
    """Of `ccl`: weight of the negatives' mean beside the positive, 0 or more."""

    negative_sampling: Literal["popularity", "uniform", "in-batch"] = "popularity"
    """Where negatives come from: the domain's catalogue by popularity or alike, or the batch."""

    negative_power: float = Field(default=1.0, ge=0.0, le=4.0)
    """Of sampling by popularity: an item is drawn ∝ count^negative_power, 0 to 4."""

    learn_temperature: bool = False
    """Train τ of a cosine too, from [model] temperature on."""

    optimizer: Literal["adam", "adagrad"] = "adam"
    """Of tables, a step count or a sum a row. Dense layers are trained by AdamW."""

    warmup_share: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the planned steps over which the step size rises, 0 to below 1."""

    decay: Literal["none", "linear", "cosine"] = "none"
    """How the step size falls to 0 over the planned steps after the warm-up."""

    clip_norm: float | None = Field(default=None, gt=0.0)
    """Largest norm of a step's gradients together, above 0; None does not clip."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of matrix products: `auto` is bfloat16 on a GPU that has it, else float32."""

    averaging: Annotated[float, Field(gt=0.0, le=1.0)] = 0.15
    """Weight of the newest epoch in the average of weights that is kept; 1 is no averaging."""

    shard_tables: bool = False
    """Under torchrun, each process holds some rows of the tables of users and items, not all."""

    patience: int = Field(default=5, ge=1)
    """Validations without a better nDCG before training stops."""

    seed: int = Field(default=0, ge=0, lt=2**32)
    """Fixes initial values, order of rows, negatives and random splits."""

    device: Device = "auto"
    """`auto` (CUDA where there is one, else the CPU), `cpu`, `cuda`, `cuda:1` or `mps`."""

    threads: int | None = Field(default=None, ge=1)
    """CPU threads; None leaves it to torch."""


class Implicit(Section):
    """How `--model als` and `--model bpr` are trained; epochs, patience and seed come from `train`,
    the number of factors is the model's `dim`."""

    regularization: float = Field(default=0.01, ge=0.0)
    """Pull of all vectors toward zero, 0 or more."""

    alpha: Positive = 1.0
    """ALS: confidence of an interaction of weight 1, above 0; other pairs have 1."""

    learning_rate: Positive = 0.05
    """BPR: step size, above 0."""


class Adapt(Section):
    """How an adapter is trained on one domain.

    What is not named here comes from `train`: loss, negatives' sampling, optimiser, schedule,
    precision, seed, device and threads.
    """

    rank: Rank = SINGLE
    """r, from 1 to the base's dimension; several such as `2,4,8`, each an adapter of its own; or
    `auto`, for each target the smallest that validates as well as the best."""

    alpha: Positive = 1.0
    """Scale of the low-rank delta before 1/√r, above 0."""

    targets: str | None = None
    """What adapts, such as `users:4,items:8:2,bias`, with a rank and an alpha of its own; None is
    rows, transform, bias, grown rows."""

    epochs: int = Field(default=15, ge=1)
    """Passes over the domain's training rows, at most."""

    batch_size: int = Field(default=1024, ge=1)
    """Training rows a step."""

    negatives: int = Field(default=4096, ge=1)
    """Sampled items of the domain that a step contrasts its rows with; a catalogue that is not
    larger is taken whole."""

    learning_rate: Positive = 0.01
    """Step size, above 0."""

    learning_rate_grid: Annotated[
        tuple[Positive, ...], BeforeValidator(listed), AfterValidator(some)
    ] = (0.3, 1.0, 3.0)
    """Multiples of `learning_rate` that are tried; validation chooses. Full fine-tuning too."""

    weight_decay: float = Field(default=0.0, ge=0.0)
    """Pull of touched rows back to the base, 0 or more."""

    proximal: float = Field(default=3.0, ge=0.0)
    """Of `--from`: pull back to the adapter that it goes on from, 0 or more: a step of size η that
    has no gradient leaves 1 - η · proximal of the distance."""

    shrinkage: float = Field(default=0.0, ge=0.0)
    """Pull of a touched row with n train rows back to the base besides: this ÷ n, 0 or more."""

    grown_ridge: Positive = 1.0
    """λ above 0 of the ridge that new users and items start by; larger is nearer to a mean."""

    averaging: Annotated[float, Field(gt=0.0, le=1.0)] = 0.15
    """Weight of the newest epoch in the average of weights that is kept; 1 is no averaging."""

    patience: int = Field(default=5, ge=1)
    """Validations without a better nDCG before training stops."""

    @property
    def single_rank(self) -> int:
        """The rank as one number where one is needed: of several the largest, 8 for `auto`."""
        if isinstance(self.rank, int):
            return self.rank
        return max(self.rank) if isinstance(self.rank, tuple) else SINGLE


class Evaluate(Section):
    """What is measured."""

    k: Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(listed)] = (10, 20, 50)
    """Cut-offs of the ranked list, each 1 or more."""

    arms: Annotated[tuple[Arm, ...], BeforeValidator(listed), BeforeValidator(every_arm)] = (
        "popularity",
        "base",
        "lora",
        "full",
    )
    """What is compared, as `PLAIN` names it, and `lora:R` an adapter of a rank; `all` is every one
    that `PLAIN` has."""

    bootstrap: int = Field(default=1000, ge=1)
    """Resamples of the users behind an interval."""

    confidence: Share = 0.95
    """Level of the intervals, between 0 and 1."""

    @field_validator("k", "arms")
    @classmethod
    def _some_and_distinct(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("at least one value, none of them twice")
        return value


class Tracking(Section):
    """Where runs are recorded; `MLFLOW_TRACKING_URI` and `MLFLOW_EXPERIMENT_NAME` go first."""

    uri: str | None = None
    """MLflow store; None is `sqlite:///mlruns/mlflow.db` in the working directory."""

    experiment: str = Field(default="lorarec", min_length=1, max_length=500)
    """Experiment that holds the project's runs."""
