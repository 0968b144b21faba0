from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from lorarec.data.interactions import Interactions
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.training import validation
from lorarec.training.validation import RankingValidation

Indexed = Callable[..., Interactions]


def model_of(users: torch.Tensor, items: torch.Tensor) -> MatrixFactorization:
    model = MatrixFactorization.from_tables(users.float(), items.float(), "dot", 1.0)
    return model.requires_grad_(False)


def scoring(rows: list[list[float]]) -> MatrixFactorization:
    """A model that scores user u and item i with `rows[u][i]`."""
    scores = torch.tensor(rows)
    return model_of(scores, torch.eye(scores.shape[1]))


def measured(logs: Interactions, model: MatrixFactorization) -> dict[str, float]:
    return RankingValidation(logs.part("train"), logs.part("valid"), ["d"])({"d": model})


def naive(logs: Interactions, model: MatrixFactorization, domains: list[str]) -> dict[str, float]:
    """The same by loops over Python numbers, from the definition."""
    recalls, ndcgs = [], []
    for domain in domains:
        rows = logs.domain(domain)
        train = {(int(u), int(i)) for u, i in zip(*pairs(rows.part("train")), strict=True)}
        valid = {(int(u), int(i)) for u, i in zip(*pairs(rows.part("valid")), strict=True)}
        catalogue = {i for _, i in train}
        recall, ndcg = [], []
        for user in sorted({u for u, _ in valid}):
            candidates = [i for i in catalogue if (user, i) not in train]
            score = {
                i: float(model.score(torch.tensor([user]), torch.tensor([i]))) for i in candidates
            }
            held = [i for u, i in valid if u == user]
            ranks = [
                1 + sum(score[j] >= score[i] for j in candidates if j != i)
                for i in held
                if i in score
            ]
            ideal = sum(1 / math.log2(place + 1) for place in range(1, len(held) + 1))
            recall.append(sum(rank <= 20 for rank in ranks) / len(held))
            ndcg.append(sum(1 / math.log2(rank + 1) for rank in ranks) / ideal)
        if recall:
            recalls.append(np.mean(recall))
            ndcgs.append(np.mean(ndcg))
    return {"valid_recall_at_20": float(np.mean(recalls)), "valid_ndcg": float(np.mean(ndcgs))}


def pairs(rows: Interactions) -> tuple[np.ndarray, np.ndarray]:
    return rows.user, rows.item


def random_logs(indexed: Indexed, seed: int) -> Interactions:
    """Two domains with repeats, pairs in both parts, and valid items that train lacks."""
    random = np.random.default_rng(seed)
    low = {"train": 20, "valid": 0}
    rows = [
        f"{random.integers(12)} {random.integers(low[part], 60)} {random.choice(['d', 'e'])} {part}"
        for part in random.choice(["train", "train", "valid"], 300)
    ]
    return indexed(rows, 12, 60, ("d", "e"))


@pytest.mark.parametrize("seed", range(4))
def test_it_agrees_with_loops_over_the_definition(indexed: Indexed, seed: int) -> None:
    logs = random_logs(indexed, seed)
    generator = torch.Generator().manual_seed(seed)
    # Small whole numbers make many exact ties.
    tables = [torch.randint(-1, 2, (n, 3), generator=generator) for n in (12, 60)]
    model = model_of(*tables)
    check = RankingValidation(logs.part("train"), logs.part("valid"), ["d", "e"])
    assert check({"d": model, "e": model}) == pytest.approx(naive(logs, model, ["d", "e"]))


def test_blocks_do_not_change_the_result(indexed: Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = random_logs(indexed, 9)
    model = MatrixFactorization.create(12, 60, 3)
    whole = measured(logs, model)
    monkeypatch.setattr(validation, "BLOCK", 5)
    monkeypatch.setattr(validation, "PAIR_BLOCK", 1)
    assert measured(logs, model) == pytest.approx(whole)


ONE_HELD_OUT = ["0 0 d train", "1 1 d train", "1 2 d train", "1 3 d train", "0 2 d valid"]


def test_the_best_item_has_ndcg_one(indexed: Indexed) -> None:
    found = measured(indexed(ONE_HELD_OUT, 2, 4), scoring([[0, 1, 5, 2], [0, 0, 0, 0]]))
    assert found == {"valid_recall_at_20": 1.0, "valid_ndcg": 1.0}


def test_a_seen_item_above_it_does_not_count(indexed: Indexed) -> None:
    found = measured(indexed(ONE_HELD_OUT, 2, 4), scoring([[9, 1, 5, 2], [0, 0, 0, 0]]))
    assert found["valid_ndcg"] == 1.0


def test_the_third_item_has_the_gain_of_rank_three(indexed: Indexed) -> None:
    found = measured(indexed(ONE_HELD_OUT, 2, 4), scoring([[0, 7, 5, 8], [0, 0, 0, 0]]))
    assert found["valid_ndcg"] == pytest.approx(1 / math.log2(4))


def test_a_tie_counts_as_a_miss(indexed: Indexed) -> None:
    found = measured(indexed(ONE_HELD_OUT, 2, 4), scoring([[0, 5, 5, 1], [0, 0, 0, 0]]))
    assert found["valid_ndcg"] == pytest.approx(1 / math.log2(3))


def test_all_zero_vectors_rank_last(indexed: Indexed) -> None:
    rows = [f"{item % 3} {item} d train" for item in range(60)]
    rows += [f"{user} {user + 1} d valid" for user in range(3)]
    logs = indexed(rows, 3, 60)
    found = measured(logs, model_of(torch.zeros(3, 2), torch.zeros(60, 2)))
    assert found["valid_recall_at_20"] == 0.0
    assert found["valid_ndcg"] == pytest.approx(1 / math.log2(41))  # 60 less 20 seen


def test_a_model_that_fell_apart_ranks_last(indexed: Indexed) -> None:
    logs = indexed(ONE_HELD_OUT, 2, 4)
    found = measured(logs, model_of(torch.full((2, 2), torch.nan), torch.ones(4, 2)))
    assert found["valid_ndcg"] <= 1 / math.log2(4)


def test_a_held_out_item_outside_the_catalogue_is_a_miss_that_counts(indexed: Indexed) -> None:
    logs = indexed([*ONE_HELD_OUT, "0 4 d valid"], 2, 5)
    found = measured(logs, scoring([[0, 1, 5, 2, 9], [0, 0, 0, 0, 0]]))
    assert found["valid_recall_at_20"] == 0.5
    assert found["valid_ndcg"] == pytest.approx(1 / (1 + 1 / math.log2(3)))


def test_a_held_out_item_that_is_also_seen_is_a_miss(indexed: Indexed) -> None:
    logs = indexed([*ONE_HELD_OUT, "0 0 d valid"], 2, 4)
    found = measured(logs, scoring([[9, 1, 5, 2], [0, 0, 0, 0]]))
    assert found["valid_recall_at_20"] == 0.5


def test_a_repeated_held_out_pair_counts_once(indexed: Indexed) -> None:
    once, twice = (indexed([*ONE_HELD_OUT, *more], 2, 4) for more in ([], ["0 2 d valid"]))
    model = scoring([[0, 7, 5, 8], [0, 0, 0, 0]])
    assert measured(once, model) == measured(twice, model)


def test_users_without_held_out_items_are_left_out(indexed: Indexed) -> None:
    logs = indexed(ONE_HELD_OUT, 2, 4)
    assert len(RankingValidation(logs.part("train"), logs.part("valid"), ["d"])) == 1


def test_a_user_without_train_rows_is_ranked(indexed: Indexed) -> None:
    logs = indexed(["0 0 d train", "0 1 d train", "1 1 d valid"], 2, 2)
    assert measured(logs, scoring([[0, 0], [1, 2]]))["valid_ndcg"] == 1.0


def test_the_bias_takes_part(indexed: Indexed) -> None:
    bias = torch.tensor([[0.0], [0.0], [3.0], [0.0]])
    table = torch.zeros(2, 1), torch.zeros(4, 1)
    model = MatrixFactorization.from_tables(*table, "dot", 1.0, bias)
    assert measured(indexed(ONE_HELD_OUT, 2, 4), model)["valid_ndcg"] == 1.0


def test_every_domain_has_the_same_weight(indexed: Indexed) -> None:
    rows = [*ONE_HELD_OUT, "0 1 e train", "1 2 e train", "1 1 e valid", "0 2 e valid"]
    logs = indexed(rows, 2, 4, ("d", "e"))
    good = scoring([[0, 1, 5, 2], [0, 0, 0, 0]])
    bad = scoring([[0, 0, 0, 0], [0, 0, 0, 0]])
    check = RankingValidation(logs.part("train"), logs.part("valid"), ["d", "e"])
    alone = RankingValidation(logs.part("train"), logs.part("valid"), ["e"])({"e": bad})
    both = check({"d": good, "e": bad})
    assert both["valid_ndcg"] == pytest.approx((1 + alone["valid_ndcg"]) / 2)


def test_a_domain_without_validation_rows_does_not_count(indexed: Indexed) -> None:
    logs = indexed([*ONE_HELD_OUT, "0 1 e train"], 2, 4, ("d", "e"))
    model = scoring([[0, 1, 5, 2], [0, 0, 0, 0]])
    check = RankingValidation(logs.part("train"), logs.part("valid"), ["d", "e"])
    assert check({"d": model, "e": model})["valid_ndcg"] == 1.0


def test_nothing_to_validate_on_gives_no_metrics(indexed: Indexed) -> None:
    logs = indexed(["0 0 d train"], 1, 1)
    check = RankingValidation(logs.part("train"), logs.part("valid"), ["d"])
    assert (len(check), check({})) == (0, {})


def test_many_users_are_drawn_by_the_seed(
    indexed: Indexed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "USERS", 5)
    rows = [f"{u} {u % 7} d train" for u in range(40)]
    rows += [f"{u} {(u + 1) % 7} d valid" for u in range(40)]
    logs = indexed(rows, 40, 7)
    model = MatrixFactorization.create(40, 7, 3)

    def run(seed: int) -> dict[str, float]:
        check = RankingValidation(logs.part("train"), logs.part("valid"), ["d"], seed)
        assert len(check) == 5
        return check({"d": model})

    assert run(1) == run(1)
    assert len({run(seed)["valid_ndcg"] for seed in range(5)}) > 1


def test_the_values_of_users_are_what_the_means_are_of(indexed: Indexed) -> None:
    rows = ["0 0 d train", "0 1 d train", "0 2 d train", "1 0 d train", "2 2 d train"]
    logs = indexed([*rows, "1 1 d valid", "1 2 d valid", "2 0 d valid"], 3, 3)
    ranks = RankingValidation(logs.part("train"), logs.part("valid"), ["d"])
    model = {"d": scoring([[0.0, 0.0, 0.0], [0.0, 2.0, 1.0], [1.0, 2.0, 0.0]])}
    values = ranks.by_user(model)
    assert values["valid_recall_at_20"].tolist() == [1.0, 1.0]
    np.testing.assert_allclose(values["valid_ndcg"], [1.0, 1 / math.log2(3)])
    means = {name: pytest.approx(float(value.mean())) for name, value in values.items()}
    assert ranks(model) == means


def test_without_validation_users_there_are_no_values(indexed: Indexed) -> None:
    logs = indexed(["0 0 d train"], 1, 1)
    ranks = RankingValidation(logs.part("train"), logs.part("valid"), ["d"])
    assert ranks.by_user({}) == {}
