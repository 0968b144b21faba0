"""The server's routes and what they refuse, without a socket."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from fastapi.testclient import TestClient
from world import Words, World

from lorarec.errors import NotFoundError
from lorarec.jobs.recommend import as_dict, prepare, recommend
from lorarec.serving.app import make_app
from lorarec.serving.limits import Limits
from lorarec.serving.pool import Pool
from lorarec.serving.snapshot import Answer, Query
from lorarec.serving.store import StoreSource

USER = "u00057"


@pytest.fixture
def pool(world: World) -> Pool:
    """Over the store of the world."""
    return Pool(StoreSource(world.store))


class Broken(Pool):
    """Raises, or takes its time."""

    def __init__(self, answer: Callable[[], list[Answer]]) -> None:
        super().__init__(Nothing())
        self._answer = answer

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        return self._answer()


class Nothing:
    """A source without domains."""

    def domains(self) -> list[str]:
        return []

    def version(self, domain: str) -> str:
        raise NotImplementedError

    def load(self, domain: str, version: str) -> Any:
        raise NotImplementedError


@pytest.fixture
def empty() -> TestClient:
    """A server that has nothing to rank, with small limits."""
    limits = Limits(body=2000, k=50, batch=3, history=4, id_length=20)
    return TestClient(make_app(Pool(Nothing()), limits))


def test_the_routes_answer_and_are_described(world: World, pool: Pool) -> None:
    with TestClient(make_app(pool)) as client:
        one = client.post("/recommend", json={"domain": "books", "user_id": USER, "k": 4})
        wanted = as_dict(recommend(prepare("books", world.store), USER, 4))
        assert one.status_code == 200
        assert one.json() == one.json() | wanted
        asked = [{"domain": "books", "user_id": USER, "k": 4}, {"domain": "movies", "k": 2}]
        many = client.post("/recommend", json={"requests": asked}).json()["results"]
        assert many[0] == one.json()
        assert (many[1]["fallback"], len(many[1]["items"])) == ("popular", 2)
        listed = {each["domain"]: each for each in client.get("/domains").json()["domains"]}
        assert sorted(listed) == ["books", "games", "movies"]
        assert listed["books"]["version"] == world.adapter
        assert not listed["games"]["loaded"]
        unknown = client.post("/recommend", json={"domain": "bokks"})
        assert unknown.status_code == 404
        assert "Did you mean 'books'" in unknown.json()["detail"]
        said = client.get("/metrics").text
        assert 'lorarec_requests_total{path="/recommend",status="200"} 2' in said
        assert "lorarec_recommend_seconds_count 3" in said
        assert "lorarec_domains_loaded 2" in said
        assert client.get("/healthz").json() == {"status": "ok"}
        assert "/recommend" in client.get("/openapi.json").json()["paths"]
        assert client.get("/docs").status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "where"),
    [
        (b"{", 422, ""),
        (b"[]", 422, ""),
        (b"null", 422, ""),
        (b"[" * 1900, 400, ""),
        (b'{"domain": 3}', 422, "domain"),
        (b'{"domain": ""}', 422, "domain"),
        (b'{"domain": "d", "k": 0}', 422, "k"),
        (b'{"domain": "d", "k": 51}', 422, "k"),
        (b'{"domain": "d", "k": NaN}', 422, "k"),
        (b'{"domain": "d", "k": true}', 422, "k"),
        (b'{"domain": "d", "k": "5"}', 422, "k"),
        (b'{"domain": "d", "k": 1e400}', 422, "k"),
        (b'{"domain": "d", "user_id": "\\ud800"}', 422, "user_id"),
        (b'{"domain": "d", "user_id": "aaaaaaaaaaaaaaaaaaaaaaaaa"}', 422, "user_id"),
        (b'{"domain": "d", "history": "i1"}', 422, "history"),
        (b'{"domain": "d", "history": ["a", null]}', 422, "history.1"),
        (b'{"domain": "d", "history": ["a", "b", "c", "d", "e"]}', 422, "history"),
        (b'{"domain": "d", "extra": 1}', 422, "extra"),
        (b'{"requests": []}', 422, "requests"),
        (b'{"requests": [{"domain": "d"}, {"domain": 1}]}', 422, "requests.1.domain"),
        (b'{"requests": [{"domain":"d"},{"domain":"d"},{"domain":"d"},{"domain":"d"}]}', 422, ""),
        (b'{"domain": "d"}', 404, ""),
        (b" " * 3000, 413, ""),
    ],
)
def test_what_is_wrong_is_a_problem(
    empty: TestClient, body: bytes, status: int, where: str
) -> None:
    headers = {"Content-Type": "application/json"}
    found = empty.post("/recommend", content=body, headers=headers)
    assert found.status_code == status
    assert found.headers["content-type"] == "application/problem+json"
    said = found.json()
    assert said["status"] == status
    assert "Traceback" not in found.text
    assert where in json.dumps(said.get("errors", []))


def test_a_body_without_a_length_is_bounded_too(empty: TestClient) -> None:
    found = empty.post("/recommend", content=(b" " * 500 for _ in range(100)))
    assert found.status_code == 413


def test_other_paths_and_methods_are_problems_and_share_a_counter(empty: TestClient) -> None:
    assert empty.get("/nothing").headers["content-type"] == "application/problem+json"
    assert empty.get("/recommend").status_code == 405
    assert 'path="other",status="404"' in empty.get("/metrics").text


def test_an_unexpected_error_tells_nothing_of_itself() -> None:
    def fail() -> list[Answer]:
        raise RuntimeError("a secret")

    client = TestClient(make_app(Broken(fail)), raise_server_exceptions=False)
    found = client.post("/recommend", json={"domain": "d"})
    assert (found.status_code, found.json()["title"]) == (500, "Unexpected error")
    assert "secret" not in found.text


def test_what_is_missing_of_a_domain_is_told_to_who_runs_the_server_and_to_nobody_else() -> None:
    def fail() -> list[Answer]:
        raise NotFoundError("The base is not in /somewhere/mlflow.db.")

    words = Words()
    client = TestClient(make_app(Broken(fail), listen=words.listener))
    found = client.post("/recommend", json={"domain": "d"})
    assert found.status_code == 503
    assert "somewhere" not in found.text
    assert "somewhere" in words


def test_a_request_that_takes_too_long_is_given_up() -> None:
    def wait() -> list[Answer]:
        time.sleep(0.5)
        return []

    client = TestClient(make_app(Broken(wait), Limits(seconds=0.05)))
    assert client.post("/recommend", json={"domain": "d"}).status_code == 503


def test_a_token_is_asked_for_everywhere_but_for_health() -> None:
    client = TestClient(make_app(Pool(Nothing()), token="s3cret"))
    assert client.get("/healthz").status_code == 200
    for path in ("/domains", "/metrics", "/docs", "/openapi.json"):
        found = client.get(path)
        assert (found.status_code, found.headers["www-authenticate"]) == (401, "Bearer")
        assert client.get(path, headers={"Authorization": "Bearer s3cre"}).status_code == 401
        assert client.get(path, headers={"Authorization": "Bearer s3cret"}).status_code == 200


def test_a_moved_alias_is_swapped_in_by_the_look_in_the_background(
    world: World, pool: Pool
) -> None:
    with TestClient(make_app(pool, poll_seconds=0.05)) as client:
        asked = {"domain": "books", "user_id": USER}
        assert client.post("/recommend", json=asked).json()["adapter_digest"] is not None
        world.store.client.create_registered_model("lorarec-books")
        deadline = time.monotonic() + 20
        while client.post("/recommend", json=asked).json()["adapter_digest"] is not None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "lorarec_swaps_total 1" in client.get("/metrics").text
