"""A slow or failing model: deadlines, full queues, clients that go, and errors of one photo."""

import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from numpy.typing import NDArray
from tests.serve.conftest import photo_of

from allmlp.serve import ServeOptions, routes
from allmlp.serve.application import app_of
from allmlp.serve.http.protocol import protocol_class
from allmlp.serve.models import ServedModel

HEADERS = {"Content-Type": "image/png"}
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
    monkeypatch.setattr(routes, "num_decoding_threads", lambda: 1)
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
