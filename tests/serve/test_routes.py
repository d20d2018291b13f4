"""A slow or failing model: deadlines, full queues, clients that go, and errors of one photo."""

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from numpy.typing import NDArray
from tests.serve.conftest import photo_of
from tests.serve.running import form

from allmlp.data import Preprocessing
from allmlp.errors import AllmlpError, CheckpointError, ConfigError, MissingExtraError
from allmlp.explanations import explainer as explainer_module
from allmlp.serve import ServeOptions
from allmlp.serve import service as service_module
from allmlp.serve.application import app_of
from allmlp.serve.http.protocol import protocol_class
from allmlp.serve.models import ServedModel

HEADERS = {"Content-Type": "image/png"}
FORM = {"Content-Type": "multipart/form-data; boundary=edge"}
POISON = photo_of(99, size=(16, 16))  # of the model's size, so that its pixels are known


class SlowModel(ServedModel):
    """Waits until it may go, and fails on one photo."""

    def __init__(self, source: Path) -> None:
        self.go = threading.Event()
        self.go.set()
        self.num_waiting = threading.Semaphore(0)
        super().__init__(source, backend="auto", device="auto", precision="auto")
        self._poison = self.decode(POISON)

    def outputs(self, images: Sequence[NDArray[Any]]) -> Sequence[NDArray[np.float32]]:
        self.num_waiting.release()
        assert self.go.wait(30)
        if any(np.array_equal(image, self._poison) for image in images if hasattr(self, "_poison")):
            raise RuntimeError("a fault of the engine")
        return super().outputs(images)


class Service:
    """The app of a slow model in a thread of this process."""

    def __init__(self, source: Path, **options: Any) -> None:
        self.model = SlowModel(source)
        config = uvicorn.Config(
            app_of(self.model, ServeOptions(**options)),
            port=0,
            http=protocol_class(5.0, 30.0),
            log_config=None,
            ws="none",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, headers=HEADERS)

    def predict(self, photo: bytes, **options: Any) -> httpx.Response:
        return self.client.post("/predict", content=photo, **options)

    def predict_all(self, *photos: bytes, path: str = "/predict") -> httpx.Response:
        """Send photos as one form."""
        parts = [(f'name="photo"; filename="{index}"', photo) for index, photo in enumerate(photos)]
        return self.client.post(path, content=form(*parts), headers=FORM)

    def value(self, name: str) -> float:
        """Return one of the metrics."""
        found = re.search(rf"^{name} (\S+)$", self.client.get("/metrics").text, re.MULTILINE)
        assert found
        return float(found[1])

    def stop(self) -> None:
        self.model.go.set()
        self.client.close()
        self._server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture
def serving(sources: dict[str, Path]) -> Iterator[Any]:
    services: list[Service] = []

    def start(**options: Any) -> Service:
        services.append(Service(sources["onnx"], **options))
        return services[-1]

    yield start
    for service in services:
        service.stop()


def test_a_full_queue_refuses_at_once_and_answers_what_it_accepted(serving: Any, photos: list[bytes]):
    service = serving(max_queue=4, max_photos=4, max_batch=2)
    service.model.go.clear()
    with ThreadPoolExecutor(4) as pool:
        accepted = [pool.submit(service.predict, photo) for photo in photos[:4]]
        while service.value("allmlp_waiting_photos") < 4:
            pass
        for photo in photos[:20]:
            start = time.monotonic()
            refusal = service.predict(photo)
            assert time.monotonic() - start < 5
            assert (refusal.status_code, refusal.json()["error"]["code"]) == (503, "busy")
            assert refusal.headers["retry-after"] == "1"
        assert service.client.get("/livez").status_code == service.client.get("/readyz").status_code == 200
        service.model.go.set()
        assert [future.result().status_code for future in accepted] == [200] * 4
    assert service.value("allmlp_refused_total") == 20
    assert service.predict(photos[0]).status_code == 200


def test_a_deadline_ends_a_request_and_its_photo_is_not_computed(serving: Any, photos: list[bytes]):
    service = serving(timeout_s=0.5, max_batch=1)
    service.model.go.clear()
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(service.predict, photos[:3]))
    assert {answer.status_code for answer in answers} == {504}
    assert answers[0].json()["error"]["code"] == "deadline"
    service.model.go.set()
    assert service.predict(photos[0]).status_code == 200
    assert service.value("allmlp_dropped_total") == 2  # the first was with the model already
    assert service.value("allmlp_waiting_photos") == 0


def test_photos_of_clients_that_are_gone_are_not_computed(serving: Any, photos: list[bytes]):
    service = serving(max_batch=1)
    service.model.go.clear()

    def give_up(photo: bytes) -> None:
        with pytest.raises(httpx.ReadTimeout):
            service.predict(photo, timeout=0.5)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(give_up, photos[:4]))
    while service.value("allmlp_waiting_photos"):
        pass
    service.model.go.set()
    assert service.predict(photos[0]).status_code == 200
    assert service.value("allmlp_dropped_total") == 3
    assert service.value('allmlp_requests_total{route="/predict",status="499"}') == 4


def test_a_photo_that_makes_the_engine_fail_fails_alone(serving: Any, photos: list[bytes], capfd: Any):
    service = serving()
    service.model.go.clear()
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(service.predict, photos[0])
        service.model.num_waiting.acquire()
        rest = [pool.submit(service.predict, photo) for photo in (*photos[1:8], POISON)]
        service.model.go.set()
        statuses = [future.result().status_code for future in (first, *rest)]
    assert statuses == [200] * 8 + [500]
    assert "a fault of the engine" in capfd.readouterr().err  # for the owner, and not for the client
    assert "fault of the engine" not in rest[-1].result().text


def test_photos_are_answered_while_the_model_is_opened_for_features(
    serving: Any, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(service_module, "num_decoding_threads", lambda: 1)
    service = serving()
    opening, go = threading.Event(), threading.Event()
    open_features = service.model.open_features

    def open_slowly() -> None:
        opening.set()
        assert go.wait(60)
        open_features()

    monkeypatch.setattr(service.model, "open_features", open_slowly)
    with ThreadPoolExecutor(4) as pool:
        embedded = [pool.submit(service.client.post, "/embed", content=photo) for photo in photos[:4]]
        try:
            assert opening.wait(30)
            assert service.predict(photos[0], timeout=20).status_code == 200
        finally:
            go.set()
        assert [future.result().status_code for future in embedded] == [200] * 4


class Opening:
    """Replaces a function that opens the model by one that waits until it may go, and counts."""

    def __init__(self, function: Callable[[], None]) -> None:
        self.number = 0
        self.has_begun, self.go = threading.Event(), threading.Event()
        self._function = function

    def __call__(self) -> None:
        self.number += 1
        self.has_begun.set()
        assert self.go.wait(60)
        self._function()


@pytest.mark.parametrize(("path", "name"), [("/embed", "open_features"), ("/explain", "open_explain")])
def test_a_deadline_ends_a_request_while_the_model_is_opened_which_goes_on(
    serving: Any, photos: list[bytes], path: str, name: str, monkeypatch: pytest.MonkeyPatch
):
    service = serving(timeout_s=0.5)
    opening = Opening(getattr(service.model, name))
    monkeypatch.setattr(service.model, name, opening)
    try:
        for photo in photos[:2]:
            late = service.client.post(path, content=photo)
            assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline")
        assert service.value("allmlp_waiting_photos") == 0
    finally:
        opening.go.set()
    while (answer := service.client.post(path, content=photos[0])).status_code == 504:
        pass  # it is still being opened
    assert answer.status_code == 200
    assert opening.number == 1


def test_clients_that_go_while_the_model_is_opened_are_noticed(
    serving: Any, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    service = serving()
    opening = Opening(service.model.open_features)
    monkeypatch.setattr(service.model, "open_features", opening)
    with pytest.raises(httpx.ReadTimeout):
        service.client.post("/embed", content=photos[0], timeout=2)
    assert opening.has_begun.is_set()
    try:
        while 'allmlp_requests_total{route="/embed",status="499"} 1.0' not in service.client.get("/metrics").text:
            pass
        assert service.value("allmlp_waiting_photos") == 0
    finally:
        opening.go.set()


def test_an_unexpected_error_is_a_problem_as_all_others_and_is_logged(
    serving: Any, photos: list[bytes], monkeypatch: pytest.MonkeyPatch, capfd: Any
):
    service = serving()
    open_features = service.model.open_features

    def fail() -> None:
        raise RuntimeError("a secret of the server")

    monkeypatch.setattr(service.model, "open_features", fail)
    answer = service.client.post("/embed", content=photos[0])
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    error = {"status": 500, "code": "internal", "message": "The server has a fault. Its log says more."}
    assert answer.json() == {"error": error}
    logged = ""
    while "a secret of the server" not in logged:  # which follows the answer
        logged += capfd.readouterr().err
    assert logged.count("RuntimeError: a secret of the server") == 1
    monkeypatch.setattr(service.model, "open_features", open_features)
    assert service.client.post("/embed", content=photos[0]).status_code == 200  # it is tried again


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_a_lack_of_memory_is_a_503_that_says_when_to_try_again(
    serving: Any, photos: list[bytes], error: Exception, monkeypatch: pytest.MonkeyPatch
):
    service = serving()

    def fail(*_: Any) -> Any:
        raise error

    for name in ("open_features", "outputs"):
        monkeypatch.setattr(service.model, name, fail)
    answers = [
        service.client.post("/embed", content=photos[0]),
        service.predict(photos[0]),
        service.predict_all(*photos[:3]),
        service.predict_all(photos[0], b"not a photo"),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_memory")
        assert answer.headers["retry-after"] == "1"


def test_faults_of_the_server_are_not_the_fault_of_photos(serving: Any, photos: list[bytes]):
    service = serving()
    for sent in ([POISON, POISON], [POISON, b"not a photo"]):
        answer = service.predict_all(*sent)
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "model_failed")
    answer = service.predict_all(POISON, photos[0])
    assert answer.status_code == 200
    assert [result.get("error", {}).get("status") for result in answer.json()["results"]] == [500, None]


def test_a_form_of_explanations_does_not_hold_up_a_prediction(
    serving: Any, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(service_module, "num_decoding_threads", lambda: 8)
    service = serving()
    computed: list[str] = []
    has_begun, go, has_predicted = threading.Event(), threading.Event(), threading.Event()
    explain, outputs = service.model.explain, service.model.outputs

    def explain_slowly(*arguments: Any) -> Any:
        computed.append("explanation")
        has_begun.set()
        assert go.wait(60)
        has_predicted.wait(0.2)
        return explain(*arguments)

    def predict(images: Any) -> Any:
        computed.append("prediction")
        has_predicted.set()
        return outputs(images)

    monkeypatch.setattr(service.model, "explain", explain_slowly)
    monkeypatch.setattr(service.model, "outputs", predict)
    with ThreadPoolExecutor(2) as pool:
        explained = pool.submit(service.predict_all, *photos[:8], path="/explain")
        try:
            assert has_begun.wait(60)
            predicted = pool.submit(service.predict, photos[8])
            while service.value("allmlp_waiting_photos") < 9:
                pass
        finally:
            go.set()
        assert (predicted.result().status_code, explained.result().status_code) == (200, 200)
    assert computed.count("explanation") == 8
    assert computed.index("prediction") <= 2  # it may still have been decoded when the first one ended


def test_photos_are_prepared_by_the_threads_that_decode_them(
    serving: Any, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    service = serving()
    threads: list[str] = []
    resize = Preprocessing.resize

    def noted(self: Preprocessing, pixels: NDArray[np.uint8]) -> Any:
        threads.append(threading.current_thread().name.partition("_")[0])
        return resize(self, pixels)

    def copied(pixels: NDArray[np.uint8]) -> Any:
        raise AssertionError("a copy of the photo, which no answer has")

    monkeypatch.setattr(Preprocessing, "resize", noted)
    monkeypatch.setattr(explainer_module, "_resized", copied)
    for path in ("/predict", "/embed", "/explain"):
        threads.clear()
        answer = service.predict_all(*photos[:3], path=path)
        assert (answer.status_code, ["error" in each for each in answer.json()["results"]]) == (200, [False] * 3)
        assert threads == ["decoding"] * 3


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ConfigError("The backend x cannot open /secret/model.onnx."), 501, "unavailable"),
        (MissingExtraError("Install the extra in /secret."), 501, "unavailable"),
        (CheckpointError("/secret/model.onnx: damaged."), 503, "cannot_open"),
        (AllmlpError("/secret/model.onnx: another fault."), 503, "cannot_open"),
    ],
)
@pytest.mark.parametrize(("path", "name"), [("/embed", "open_features"), ("/explain", "open_explain")])
def test_why_the_model_cannot_be_opened_is_for_the_owner(
    serving: Any,
    photos: list[bytes],
    path: str,
    name: str,
    error: AllmlpError,
    status: int,
    code: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: Any,
):
    service = serving()
    open_it = getattr(service.model, name)

    def fail() -> None:
        raise error

    monkeypatch.setattr(service.model, name, fail)
    answer = service.client.post(path, content=photos[0])
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert ("retry-after" in answer.headers) == (status == 503)
    assert "secret" not in answer.text
    assert capfd.readouterr().err == f"allmlp serve: {error}\n"
    monkeypatch.setattr(service.model, name, open_it)
    assert service.client.post(path, content=photos[0]).status_code == 200
