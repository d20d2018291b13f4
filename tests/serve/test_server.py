"""Processes: signals, workers that die, ports, and exports without torch."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.builders import tiny_checkpoint
from tests.serve.conftest import photo_of
from tests.serve.running import Running, request, running, started

from allmlp import ConfigError, export
from allmlp.hardware.num_compute_threads import THREADS_OF_QUOTA
from allmlp.hardware.num_decoding_threads import usable_cores
from allmlp.serve import serve
from allmlp.serve.server import _engine

PHOTO = photo_of(0)
RAW = [("Content-Type", "image/png")]


class Load:
    """Clients that ask without a pause, each request over a new connection, until the server refuses a connection."""

    def __init__(self, server: Running, number: int = 8) -> None:
        self.statuses: list[int] = []
        self._server = server
        self._threads = [threading.Thread(target=self._ask) for _ in range(number)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        while True:
            try:
                self.statuses.append(self._server.predict(PHOTO).status)
            except ConnectionRefusedError:
                return

    def join(self) -> list[int]:
        for thread in self._threads:
            thread.join(60)
        return self.statuses


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_under_load_fails_nobody(sources: dict[str, Path], workers: int):
    with running(sources["onnx"], workers=workers) as server:
        load = Load(server)
        while len(load.statuses) < 50:
            assert server.predict(PHOTO).status == 200
        with server.connect() as idle, server.connect() as late:
            late.sendall(request("POST", "/predict", PHOTO, RAW)[:-100])  # accepted, and not yet complete
            server.process.send_signal(signal.SIGTERM)
            late.sendall(PHOTO[-100:])
            assert late.recv(12) == b"HTTP/1.1 200"
            assert idle.recv(1) == b""
        assert server.process.wait(60) == 0
        assert set(load.join()) == {200}
        assert not [line for line in server.written() if line.strip()]


def test_ctrl_c_ends_a_server_that_idles(sources: dict[str, Path]):
    with running(sources["onnx"]) as server:
        assert server.stop(signal.SIGINT) == 0


def test_a_client_that_reads_no_answer_holds_up_neither_others_nor_a_shutdown(sources: dict[str, Path]):
    with running(sources["onnx"], options={"body_timeout_s": 1.0}) as server, server.connect() as stalled:
        stalled.sendall(request("GET", "/photos.js") * 2500)  # answers of 20 MB, more than the system buffers
        time.sleep(0.5)
        assert server.predict(PHOTO).status == 200
        start = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - start < 10


def test_a_client_that_reads_slowly_gets_its_answers(sources: dict[str, Path]):
    with running(sources["onnx"], options={"body_timeout_s": 2.0}) as server, server.connect() as slow:
        slow.sendall(request("GET", "/photos.js") * 2500)
        start, size = time.monotonic(), 0
        while size < 2500 * 8_000 and (part := slow.recv(1_000_000)):
            size += len(part)
            time.sleep(max(0.0, start + size / 5e6 - time.monotonic()))  # 5 MB a second, twice as long as the limit
        assert size >= 2500 * 8_000


@pytest.mark.parametrize(
    ("source", "backend", "engine"),
    [
        ("model.onnx", "auto", "onnxruntime"),
        ("model.onnx", "openvino", "openvino"),
        ("model.xml", "auto", "openvino"),
        ("model.pt2", "auto", "torch"),
        ("model.tflite", "auto", "ai_edge_litert"),
        ("runs/mine", "auto", "torch"),
        ("runs/mine", "compiled", "torch"),
    ],
)
def test_workers_are_forked_with_the_engine_that_they_need_and_no_other(source: str, backend: str, engine: str):
    assert _engine(source, backend) == engine


def test_a_killed_worker_is_replaced_within_five_seconds(sources: dict[str, Path]):
    with running(sources["onnx"], workers=2) as server:
        (victim, other) = workers_of(server)
        assert server.predict(PHOTO).status == 200
        _wait_for_count(server, 1)  # which follows the answer
        victim.kill()
        start = time.monotonic()
        assert server.next_line("Worker").startswith(f"Worker {victim.pid} ended (-9)")
        other.suspend()  # so that only the new one can answer
        assert server.predict(PHOTO).status == 200
        assert time.monotonic() - start < 5
        other.resume()
        assert victim not in workers_of(server)
        # The dead worker's counts are part of the sums.
        _wait_for_count(server, 2)
        assert server.stop() == 0


def _wait_for_count(server: Running, number: int) -> None:
    line = f'allmlp_requests_total{{route="/predict",status="200"}} {number}.0'
    end = time.monotonic() + 10
    while line not in server.ask("GET", "/metrics").body.decode():
        assert time.monotonic() < end


def test_ctrl_c_while_workers_start_prints_no_error(sources: dict[str, Path]):
    """A terminal sends the signal to all processes of the server. By then, it may have said where it serves, and how."""
    command = [sys.executable, "-m", "allmlp", "serve", str(sources["onnx"]), "--workers", "2", "--port", "0"]
    for seconds in (1.5, 2.5, 3.5):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode in (0, 130, -signal.SIGINT)
        said = errors.splitlines()
        assert all(line.startswith(("Backend onnxruntime: ", "Serving at ")) for line in said) and len(said) <= 2, (
            errors
        )


def test_workers_end_with_a_supervisor_that_is_killed(sources: dict[str, Path]):
    with running(sources["onnx"], workers=2) as server:
        workers = workers_of(server)
        server.process.kill()
        server.process.wait(60)
        _, alive = psutil.wait_procs(workers, timeout=30)
        assert not alive


@pytest.mark.parametrize("is_users", [True, False])
def test_workers_divide_the_cores_unless_the_user_set_a_number(
    is_users: bool, sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    """The command sets the variable, too, where a quota allows fewer cores: all workers would take all of these."""
    monkeypatch.setenv("OMP_NUM_THREADS", "97")
    if not is_users:
        monkeypatch.setenv(THREADS_OF_QUOTA, "97")
    expected = "97" if is_users else str(max(1, usable_cores(physical=True) // 2))
    with running(sources["onnx"], workers=2) as server:
        assert {each.environ()["OMP_NUM_THREADS"] for each in workers_of(server)} == {expected}


def workers_of(server: Running) -> list[psutil.Process]:
    """Return the two workers: children of the process that forks them."""
    children = psutil.Process(server.process.pid).children()
    (found,) = [child.children() for child in children if child.children()]
    assert len(found) == 2
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_a_source_that_cannot_be_opened_is_one_line(tmp_path: Path, workers: int):
    from allmlp import CheckpointError

    with pytest.raises(CheckpointError, match="there is no such checkpoint"):
        serve(str(tmp_path / "nothing"), port=0, workers=workers)


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("192.0.2.1", 0, "192.0.2.1:0: cannot be listened at .Cannot assign requested address"),
        ("not a host", 0, "not a host:0: cannot be listened at"),
        ("127.0.0.1", 70_000, "port is 70000; expected a number from 0 to 65535"),
    ],
)
def test_an_address_that_cannot_be_had_is_refused(sources: dict[str, Path], host: str, port: int, message: str):
    with pytest.raises(ConfigError, match=message):
        serve(str(sources["onnx"]), host=host, port=port)


def test_a_port_that_is_taken_is_named(sources: dict[str, Path]):
    with (
        running(sources["onnx"]) as server,
        pytest.raises(ConfigError, match=r"Address already in use.*--port 0 finds"),
    ):
        serve(str(sources["onnx"]), port=server.port)


BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "pyarrow", "matplotlib", "safetensors", "huggingface_hub"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
from allmlp.cli.main import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize("source", ["onnx", "openvino"])
def test_an_export_is_served_without_torch(sources: dict[str, Path], source: str):
    command = [sys.executable, "-c", BLOCKED, "serve", str(sources[source]), "--port", "0"]
    with started(command) as server:
        assert server.predict(PHOTO).status == 200
        assert server.predict(PHOTO, "/embed").status == 200
        assert server.ask("GET", "/metrics").status == 200
        assert server.stop() == 0


def _export(path: Path, **changes: Any) -> None:
    """Write an ONNX file in the place of another one, at once."""
    checkpoint = tiny_checkpoint(**{"num_classes": 3, "class_names": ("a", "b", "c"), **changes})
    export(checkpoint, to="onnx", out=path.with_name("new.onnx")).replace(path)


CHANGED = "The model has changed since the server started. Restart the server."


@pytest.mark.parametrize(
    ("change", "message"),
    [({"seed": 2}, CHANGED), ({"class_names": ("c", "b", "a")}, CHANGED), (None, "model.onnx: no such file")],
)
def test_a_worker_that_finds_another_model_never_answers(tmp_path: Path, change: dict[str, Any] | None, message: str):
    path = tmp_path / "model.onnx"
    _export(path)
    with running(path, workers=2) as server:
        answer = server.predict(PHOTO).json
        first, second = workers_of(server)
        if change is None:
            path.unlink()
        else:
            _export(path, **change)
        first.kill()
        assert server.next_line("Worker").startswith(f"Worker {first.pid} ended (-9)")
        refused = server.next_line("Worker")
        assert "is not used; 1 of 2 go on." in refused
        assert message in refused
        assert all(server.predict(PHOTO).json == answer for _ in range(10))
        assert second.is_running()
        assert not [line for line in server.written() if "Worker" in line]  # it is not replaced again
        second.kill()
        assert server.process.wait(60) != 0
        server.next_line("allmlp.errors.")
