"""A Ray cluster on this machine: replicas answer as `predict` does, refuse what is too much, and are replaced when killed."""

import contextlib
import importlib.util
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from PIL import Image
from tests.forks import run_allmlp

from allmlp.errors import ConfigError, MissingExtraError
from allmlp.serve import RaySettings, ray_app

HAS_RAY = all(importlib.util.find_spec(name) is not None for name in ("ray", "aiohttp_cors"))  # the latter: ray[serve]
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="ray[serve] is not installed")
DEADLINE_S = 180.0
IMAGE = {"Content-Type": "image/png"}


@dataclass(frozen=True)
class Cluster:
    """`serve run` in a process of its own, with the Ray cluster that it started."""

    process: "subprocess.Popen[bytes]"
    url: str

    def replicas(self) -> set[int]:
        """Return the process IDs of the replicas."""
        found = set()
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "ServeReplica" in " ".join(child.cmdline()):
                    found.add(child.pid)
        return found

    def predict(self, client: httpx.Client, photo: bytes) -> httpx.Response:
        return client.post(f"{self.url}/predict?top_k=6", content=photo, headers=IMAGE)

    def num_predicted(self, client: httpx.Client) -> float:
        """Return how many requests the replica has answered that happens to answer this one."""
        lines = client.get(f"{self.url}/metrics").text.splitlines()
        return sum(
            float(line.split()[-1]) for line in lines if line.startswith('allmlp_requests_total{route="/predict"')
        )


def until(found: Any, what: str) -> Any:
    """Return what `found` returns once that is true."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        with contextlib.suppress(httpx.TransportError):
            if value := found():
                return value
        time.sleep(0.2)
    raise AssertionError(f"not within {DEADLINE_S:g} seconds: {what}")


@contextlib.contextmanager
def running(folder: Path, **arguments: Any) -> Iterator[Cluster]:
    """Run `serve run` with a configuration file, as docs/serving.md shows it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    config = {
        "http_options": {"host": "127.0.0.1", "port": port},
        "applications": [{"name": "allmlp", "import_path": "allmlp.serve:ray_app", "args": arguments}],
    }
    (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
    program = "import sys; from ray.serve.scripts import cli; sys.argv[0] = 'serve'; cli()"
    environment = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "OMP_NUM_THREADS")}
    # No token in the user's home; and a proxy on a busy machine takes longer to start than Ray's 5 seconds.
    environment |= {"RAY_AUTH_MODE": "disabled", "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", program, "run", "config.yaml"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        cluster = Cluster(process, f"http://127.0.0.1:{port}")

        def is_ready() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            return httpx.get(f"{cluster.url}/readyz").status_code == 200

        until(is_ready, "an answer")
        yield cluster
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait()


@needs_ray
@pytest.mark.slow
def test_two_replicas_answer_as_predict_does_and_one_that_is_killed_comes_back(
    sources: dict[str, Path], photos: list[bytes], tmp_path: Path
):
    for index, photo in enumerate(photos):
        (tmp_path / f"{index:02d}.png").write_bytes(photo)
    names = [f"{index:02d}.png" for index in range(len(photos))]
    done = run_allmlp(
        "predict", sources["onnx"], *names, "--top-k", 6, "--format", "json", cwd=tmp_path, OMP_NUM_THREADS="1"
    )
    expected = [row["predictions"] for row in json.loads(done.stdout)]
    arguments = {"source": str(sources["onnx"]), "num_replicas": 2, "num_cpus": 0.5}  # on a single processor, too
    with running(tmp_path, **arguments) as cluster, httpx.Client(timeout=60) as client:
        until(lambda: len(cluster.replicas()) == 2, "two replicas")

        def answers() -> list[httpx.Response]:
            with ThreadPoolExecutor(8) as pool:
                return list(pool.map(lambda photo: cluster.predict(client, photo), photos))

        found = [answer.json()["results"][0]["labels"] for answer in answers()]
        assert found == expected  # to the last digit
        counts = {cluster.num_predicted(client) for _ in range(30)}
        assert min(counts) > 0 and max(counts) < len(photos)  # neither answered all
        broken = cluster.predict(client, b"not a photo")
        assert (broken.status_code, broken.json()["error"]["code"]) == (415, "unsupported_photo")
        assert "<title>Classify photos</title>" in client.get(cluster.url).text
        assert "script-src 'self'" in client.get(cluster.url).headers["content-security-policy"]

        before = cluster.replicas()
        killed = min(before)
        os.kill(killed, signal.SIGKILL)
        until(lambda: len(cluster.replicas() - {killed}) == 2, "a new replica")
        assert len(cluster.replicas() & before) == 1  # the other one went on
        until(lambda: cluster.num_predicted(client) == 0, "an answer of the new replica")
        again = [answer.json()["results"][0]["labels"] for answer in answers()]
        assert again == expected


@needs_ray
@pytest.mark.slow
def test_beyond_the_queue_ray_answers_503_at_once_and_the_rest_is_answered(sources: dict[str, Path], tmp_path: Path):
    content = io.BytesIO()
    Image.new("RGB", (3000, 3000)).save(content, "PNG")  # a small file that takes a while to decode
    photo = content.getvalue()
    arguments = {"source": str(sources["onnx"]), "max_ongoing_requests": 1, "max_queued_requests": 2}
    limits = httpx.Limits(max_connections=64)
    with running(tmp_path, **arguments) as cluster, httpx.Client(timeout=60, limits=limits) as client:
        with ThreadPoolExecutor(64) as pool:
            answers = list(pool.map(lambda _: cluster.predict(client, photo), range(128)))
        assert Counter(answer.status_code for answer in answers).keys() == {200, 503}
        assert {answer.headers.get("retry-after") for answer in answers if answer.status_code == 503} == {"1"}
        assert cluster.predict(client, photo).status_code == 200


@needs_ray
@pytest.mark.slow  # loading Ray takes seconds
def test_replicas_are_as_many_as_asked_for_or_between_two_numbers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    Path("mine.onnx").touch()
    program = """
import json, sys
from allmlp.serve import RaySettings, ray_app
deployment = ray_app(RaySettings.model_validate(json.loads(sys.argv[1])))._bound_deployment
scaling = deployment._deployment_config.autoscaling_config
bounds = scaling and (scaling.min_replicas, scaling.max_replicas, scaling.target_ongoing_requests)
print(json.dumps([deployment.num_replicas, bounds, deployment.ray_actor_options]))
"""

    def deployed(**settings: object) -> Any:
        command = [sys.executable, "-c", program, json.dumps({"source": "mine.onnx", **settings})]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert deployed(num_replicas=3, num_gpus=1) == [3, None, {"num_cpus": 1, "num_gpus": 1}]
    assert deployed(num_replicas=2, max_replicas=5)[1] == [2, 5, 32]
    assert deployed(max_replicas=5, target_ongoing_requests=3)[1] == [1, 5, 3]


def test_settings_are_read_from_text_and_wrong_ones_are_named():
    settings = RaySettings.model_validate({"source": "mine.onnx", "num_replicas": "3", "max_wait_ms": "0.5"})
    assert (settings.num_replicas, settings.limits().max_wait_ms) == (3, 0.5)
    with pytest.raises(ValueError, match=r"num_replica\n.*Extra inputs are not permitted"):
        RaySettings.model_validate({"source": "mine.onnx", "num_replica": "3"})
    with pytest.raises(ValueError, match=r"source\n.*Field required"):
        RaySettings.model_validate({})
    with pytest.raises(ConfigError, match="max_batch is 0; expected an integer from 1 to 1024"):
        RaySettings(source="mine.onnx", max_batch=0).limits()


def test_without_ray_its_installation_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"need ray\[serve\]: pip install 'allmlp\[serve,ray-serve\]'"):
        ray_app(RaySettings(source="mine.onnx"))
