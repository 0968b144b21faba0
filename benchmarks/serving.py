"""Recommendations over HTTP: `lorarec serve`'s server beside `mlflow models serve`, and swaps.

    python benchmarks/serving.py [--json FILE] [--quick | --full]

A made base of 100,000 items of 64 dimensions and an adapter for each of 8 domains, whose catalogue
is all items; k = 20, domains and users at random. Clients keep their connections and ask one after
another for 12 seconds (--full: a minute), from a process of their own; measures without `1_client`
are of 16. The same bundle is then served as the same MLflow pyfunc by `mlflow models serve`. At
last the adapters of all domains are swapped again and again while 10,000 requests are asked: an
answer is mixed where it is not, item by item, that of the adapter that it names, ranked here
without a server.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import Measures, header, parser, say, table

DOMAINS, DIM, K, RANK = 8, 64, 20, 8
Answer = tuple[int, float, Any]
"""Status, seconds, body."""


def make_bundle(folder: Path, items: int, users: int, seed: int) -> None:
    """A base and an adapter for each domain, by random numbers; the base is the same for all."""
    import polars as pl
    import torch

    from benchmarks.made_artefacts import made_adapter, made_base
    from lorarec.data.tables import write_parquet
    from lorarec.lora.adapter import load_adapter, save_adapter
    from lorarec.lora.config import AdapterConfig
    from lorarec.models.artefact import save_base
    from lorarec.record import save_record
    from lorarec.serving.bundle import RECORD, BundledDomain, BundleInfo
    from lorarec.storage import sha256_file

    (folder / "base-0").mkdir(parents=True)
    base = made_base(users, items, DIM)
    save_base(base, folder / "base-0")
    domains = {}
    for number in range(DOMAINS):
        name, own = f"domain {number}", folder / "domains" / str(number)
        (own / "adapter").mkdir(parents=True)
        config = AdapterConfig(ranks={"items": RANK}, bias=False)
        adapter = made_adapter(base, config, torch.arange(items), 0, seed + number)
        info = adapter.info.model_copy(update={"domain": name})
        save_adapter(type(adapter)(adapter.model, adapter.users, adapter.items, info),
                     own / "adapter")  # fmt: skip
        found = load_adapter(own / "adapter", base)
        drawn = np.random.default_rng(number).integers(users, size=items)
        rows = pl.DataFrame(
            {"user_id": [f"u{n}" for n in drawn], "item_id": [f"i{n}" for n in range(items)]}
        ).with_columns(domain=pl.lit(name), split=pl.lit("train"))
        write_parquet(rows, own / "rows.parquet")
        domains[name] = BundledDomain(
            folder=f"domains/{number}", base="base-0", base_digest=base.digest,
            adapter_digest=found.info.digest, rows_digest=sha256_file(own / "rows.parquet"),
        )  # fmt: skip
    save_record(folder / RECORD, BundleInfo(domains=domains))


class Turns:
    """Bundles in turns: what serves is the first, then the second, and the first again."""

    def __init__(self, folders: list[Path], seconds: float) -> None:
        from lorarec.serving.bundle import BundleSource

        self.sources, self.seconds = [BundleSource(folder) for folder in folders], seconds

    def domains(self) -> Any:
        """Of both."""
        return self.sources[0].domains()

    def version(self, domain: str) -> str:
        """That of the turn."""
        turn = int(time.monotonic() / self.seconds) % len(self.sources)
        return self.sources[turn].version(domain)

    def load(self, domain: str, version: str) -> Any:
        """By whoever has it."""
        (source, *_) = [each for each in self.sources if each.version(domain) == version]
        return source.load(domain, version)


def serve_here(port: int, seconds: float, folders: list[Path]) -> None:
    """What the server's process does; of several folders the adapters are swapped all the time."""
    from lorarec.serving.app import make_app
    from lorarec.serving.pool import Pool
    from lorarec.serving.server import bound_socket, serve

    pool = Pool(Turns(folders, seconds))
    for domain in pool.source.domains():
        pool.get(domain)
    app = make_app(pool, poll_seconds=0.05 if len(folders) > 1 else 0.0)
    serve(app, bound_socket("127.0.0.1", port), lambda: None)


@contextmanager
def running(command: list[str], port: int, path: str) -> Iterator[None]:
    """A server's process, once it answers."""
    environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true",
               "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
               "PYTHONPATH": str(Path(__file__).resolve().parents[1])}  # fmt: skip
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, env=environ, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            deadline = time.monotonic() + 300
            while not _answers(port, path):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise SystemExit(log.read().decode()[-2000:])
                time.sleep(0.2)
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def load(
    port: int, path: str, wrap: Any, clients: int, users: int, seconds: float, most: int = 1 << 30
) -> tuple[list[Answer], list[tuple[str, str]], float]:
    """Ask by some clients at once for a time, or `most` times.

    Returns:
        Answers, the (domain, user) of each, and the seconds that it took.
    """
    answers: list[Answer] = []
    asked: list[tuple[str, str]] = []
    lock, end = threading.Lock(), time.perf_counter() + seconds

    def ask(seed: int) -> None:
        rng = np.random.default_rng(seed)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.perf_counter() < end and len(answers) < most:
            pair = f"domain {rng.integers(DOMAINS)}", f"u{rng.integers(users)}"
            body = json.dumps(wrap({"domain": pair[0], "user_id": pair[1], "k": K}))
            began = time.perf_counter()
            try:
                connection.request("POST", path, body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                text, status = response.read(), response.status
            except (OSError, http.client.HTTPException):
                text, status = b"null", 0
                connection.close()
            took = time.perf_counter() - began
            with lock:
                answers.append((status, took, text))
                asked.append(pair)

    began = time.perf_counter()
    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers, asked, time.perf_counter() - began


def mixed(answers: list[Answer], asked: list[tuple[str, str]], folders: list[Path]) -> int:
    """Answers that are not those of the adapter that they name."""
    from lorarec.serving.bundle import BundleSource
    from lorarec.serving.snapshot import Query

    wrong = 0
    for source in (BundleSource(folder) for folder in folders):
        for domain in source.domains():
            digest = source.version(domain)
            own = [
                (pair[1], found)
                for (status, _, text), pair in zip(answers, asked, strict=True)
                if status == 200 and pair[0] == domain
                and (found := json.loads(text))["adapter_digest"] == digest
            ]  # fmt: skip
            if not own:
                continue
            snapshot = source.load(domain, digest)
            wanted = snapshot.answer([Query(domain, user, (), K) for user, _ in own])
            for (_, found), true in zip(own, wanted, strict=True):
                wrong += [each["item"] for each in found["items"]] != true.found.items
    return wrong


def free_port() -> int:
    """Of loopback."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def measure(measures: Measures, work: Path, quick: bool, full: bool) -> None:
    """All of it."""
    items, users, seconds = (
        (2_000, 200, 1.0) if quick else (100_000, 20_000, 60.0 if full else 12.0)
    )
    folders = [work / "first", work / "second"]
    for number, folder in enumerate(folders):
        say(f"made: bundle {number + 1} of 2")
        make_bundle(folder, items, users, 100 * number)
    rows: list[tuple[Any, ...]] = []
    rates: dict[tuple[str, int], float] = {}

    def under(name: str, command: list[str], port: int, path: str, ping: str, wrap: Any) -> None:
        with running(command, port, ping):
            load(port, path, wrap, 1, users, 60, most=5 * DOMAINS)  # every domain is loaded
            for clients in (1, 16):
                answers, _, took = load(port, path, wrap, clients, users, seconds)
                times = [1000 * each[1] for each in answers]
                p50, p99 = np.percentile(times, [50, 99])
                rates[name, clients] = len(answers) / took
                failed = sum(each[0] != 200 for each in answers)
                rows.append((name, clients, len(answers), failed, f"{p50:.1f}", f"{p99:.1f}",
                             round(rates[name, clients])))  # fmt: skip
                prefix = "" if name == "lorarec" else "mlflow_"
                at = "" if clients == 16 else "_1_client"
                measures.add(f"{prefix}p50{at}_ms", p50, "ms")
                measures.add(f"{prefix}p99{at}_ms", p99, "ms")
                measures.add(f"{prefix}requests_per_s{at}", rates[name, clients], "requests/s")

    this, port = [sys.executable, __file__, "--server"], free_port()
    under("lorarec", [*this, str(port), "1", str(folders[0])], port, "/recommend", "/healthz",
          lambda one: one)  # fmt: skip
    if quick:
        measures.leave_out("vs_mlflow_serve, mlflow_*", "--quick starts no MLflow server")
    else:
        from lorarec.serving.log_domains import ARTIFACT, CODE
        from lorarec.tracking.pyfunc import save_pyfunc
        from lorarec.tracking.quiet import QUIET

        os.environ.update(QUIET)
        save_pyfunc(work / "model", CODE, folders[0], ARTIFACT)
        port = free_port()
        command = [str(Path(sys.executable).parent / "mlflow"), "models", "serve", "-m",
                   str(work / "model"), "-p", str(port), "--env-manager", "local"]  # fmt: skip
        under("mlflow models serve", command, port, "/invocations", "/ping",
              lambda one: {"dataframe_records": [one]})  # fmt: skip
        over = rates["lorarec", 16] / rates["mlflow models serve", 16]
        measures.add("vs_mlflow_serve", over, "ratio", "mlflow models serve", over)
    table(
        f"{items:,} items, d = {DIM}, k = {K}, {DOMAINS} domains at random",
        ["server", "clients", "requests", "failed", "p50 ms", "p99 ms", "requests/s"], rows,
    )  # fmt: skip
    port, wanted = free_port(), 400 if quick else 10_000
    with running([*this, str(port), "0.1" if quick else "4", *map(str, folders)], port, "/healthz"):
        answers, asked, _ = load(port, "/recommend", lambda one: one, 8, users, 420, most=wanted)
    failed = sum(status != 200 for status, _, _ in answers)
    seen = {json.loads(text)["adapter_digest"] for status, _, text in answers if status == 200}
    wrong = mixed(answers, asked, folders)
    table("Adapters swapped under load", ["requests", "adapters that answered", "failed", "mixed"],
          [(len(answers), len(seen), failed, wrong)])  # fmt: skip
    measures.add("swap_requests", len(answers), "requests")
    measures.add("swap_adapters_seen", len(seen), "adapters")
    measures.add("swap_failed_requests", failed, "requests")
    measures.add("swap_mixed_answers", wrong, "answers")


def main() -> None:
    """Measure, print and write; or be the server."""
    if sys.argv[1:2] == ["--server"]:
        serve_here(int(sys.argv[2]), float(sys.argv[3]), [Path(each) for each in sys.argv[4:]])
        return
    options = parser(__doc__.splitlines()[0]).parse_args()
    header("Serving over loopback")
    measures = Measures()
    with tempfile.TemporaryDirectory() as work:
        measure(measures, Path(work), options.quick, options.full)
    measures.finish(options.json)


if __name__ == "__main__":
    main()
