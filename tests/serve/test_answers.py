"""Answers equal those of `Predictor` and `Embedder`, on every backend, whatever the batch."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from tests.serve.running import form, running

from allmlp import Checkpoint, CheckpointError, ConfigError, Embedder, Predictor, load_checkpoint, open_model
from allmlp.inference import write_tuned
from allmlp.serve import ServeOptions, app

FORM = [("Content-Type", "multipart/form-data; boundary=edge")]
BACKENDS = [("checkpoint", "eager"), ("checkpoint", "onnxruntime"), ("onnx", "onnxruntime"), ("openvino", "openvino")]


@pytest.mark.parametrize(("source", "backend"), BACKENDS)
def test_answers_are_those_of_predict(sources: dict[str, Path], photos: list[bytes], source: str, backend: str):
    environment = {"OMP_NUM_THREADS": "1"}
    with running(sources[source], backend=backend, env=environment) as server:
        with ThreadPoolExecutor(16) as pool:
            alone = list(pool.map(server.predict, photos))
        parts = [(f'name="photo"; filename="{index}"', photo) for index, photo in enumerate(photos)]
        together = server.ask("POST", "/predict?top_k=6", form(*parts), FORM).json["results"]
        features = server.ask("POST", "/embed", form(*parts), FORM).json["results"]
    predictor = Predictor(open_model(sources[source], backend=backend))
    for index, expected in enumerate(predictor.predict(photos, top_k=6)):
        assert together[index]["labels"] == list(expected.labels)  # to the last digit
        assert alone[index].json["results"][0]["labels"] == list(expected.labels)[:5]
    rows = Embedder(open_model(sources[source], backend=backend, output="features")).embed(photos)
    assert [result["features"] for result in features] == rows.tolist()


def test_a_checkpoint_and_its_exports_have_one_digest(sources: dict[str, Path]):
    async def info(source: Path | Checkpoint) -> dict[str, object]:
        transport = httpx.ASGITransport(app(source))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return dict((await client.get("/info")).json())

    found = [asyncio.run(info(source)) for source in [*sources.values(), load_checkpoint(sources["checkpoint"])]]
    assert len({values["weights_sha256"] for values in found}) == 1
    assert found[0]["image_size"] == [16, 16]
    assert found[0]["preprocessing"]["fit"] == "crop"


def test_the_backend_that_computes_and_all_limits_are_stated(sources: dict[str, Path]):
    for name in ("checkpoint", "onnx"):
        with running(sources[name], options={"max_queue": 100, "timeout_s": 7.0}, max_megapixels=2) as server:
            info = server.ask("GET", "/info").json
        assert info["backend"] == open_model(sources[name]).backend
        assert info["backend"] != "auto"
        assert info["limits"] == {
            "max_photos": 64,
            "max_upload_bytes": 32_000_000,
            "max_pixels": 2_000_000,
            "max_queue": 100,
            "max_values": 200_000,
            "timeout_s": 7.0,
        }


@pytest.mark.parametrize("workers", [1, 2])
def test_the_choice_of_a_tuned_backend_is_reported(
    sources: dict[str, Path], tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path))
    write_tuned(load_checkpoint(sources["checkpoint"]).config, {"openvino": 0.001, "onnxruntime": 0.002})
    with running(sources["onnx"], workers=workers) as server:
        info = server.ask("GET", "/info").json
        assert info["backend"] == "openvino"
        assert info["remark"].startswith("Backend openvino: the fastest here by allmlp bench --tune of ")
        assert [line.rstrip() for line in server.first_lines] == [info["remark"]]


def test_a_wrong_source_is_refused_before_a_request():
    with pytest.raises(CheckpointError, match="there is no such checkpoint"):
        app("/nowhere")
    with pytest.raises(ConfigError, match="Unknown backend 'tensorflow'"):
        app("/nowhere", backend="tensorflow")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch": 0}, "max_batch is 0; expected an integer from 1 to 1024"),
        ({"max_wait_ms": float("nan")}, "max_wait_ms is nan; expected a number from 0 to 1000"),
        ({"max_photos": 20, "max_queue": 10}, "max_photos is 20, more than max_queue"),
        ({"max_upload_mb": 1.5}, "max_upload_mb is 1.5; expected an integer"),
        ({"api_keys": ("a b",)}, "a key is empty, or has a space"),
        ({"api_keys": ("",)}, "a key is empty"),
    ],
)
def test_impossible_limits_are_refused(options: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        ServeOptions(**options)  # type: ignore[arg-type]
