"""`allmlp serve` under open-loop load: goodput, refusals, latency and memory, batched and not, next to LitServe.

python benchmarks/serving.py [--variant S/16] [--seconds 60] [--factors 0.5,1,2,5] [--litserve PYTHON] [--unbatched]
    [--out FILE.json]

Requests arrive at fixed times, whether or not earlier ones were answered, and their latency counts from the time at which
they were due. The rates are multiples of the backend's own throughput, measured first: photos decoded and classified by
`Predictor` in batches of 32, without a server. Server and clients share no core if there are two: the server has the first half
of them, the clients the rest. LitServe runs the same decoder and the same model, from an environment of its own (`--litserve`,
the Python of one in which it is installed next to allmlp), in the same run. --unbatched measures each server also with
batches of one.

The model has random weights, exported to ONNX; photos are the embedded clothing photos, enlarged to 400 × 300 JPEG files.
"""

import argparse
import asyncio
import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

import allmlp
from allmlp import Checkpoint, ModelDescription, Preprocessing
from allmlp.data import decode, open_dataset
from allmlp.provenance import record

RESULT = Path(__file__).parent / "results" / "serving.json"
LITSERVE = Path(__file__).parent / "serving_litserve.py"
NUM_PHOTOS = 32
BATCH = 32
MAX_QUEUE = 64
START_S = 120.0
GIVE_UP_S = 60.0
NEVER = 20_000  # requests in flight, beyond which the clients would measure themselves


def photos() -> list[bytes]:
    split = open_dataset("clothing").splits["test"]
    found = []
    for index in range(NUM_PHOTOS):
        image = Image.fromarray(decode(split.read(index), name=split.where(index)))
        content = io.BytesIO()
        image.resize((400, 300), Image.Resampling.BICUBIC).save(content, "JPEG", quality=90)
        found.append(content.getvalue())
    return found


def write_model(variant: str, folder: Path) -> Path:
    module = allmlp.create(variant, num_classes=1000)
    description = ModelDescription(
        config=module.config,
        preprocessing=Preprocessing(image_size=module.config.image_size),
        class_names=tuple(map(str, range(1000))),
        source="random weights, to measure speed",
    )
    path = folder / "model.onnx"
    allmlp.export(Checkpoint(description=description, weights=module.state_dict()), to="onnx", out=path)
    return path


def cores() -> tuple[list[int], list[int]]:
    """Return the cores of the server and of the clients."""
    usable = sorted(os.sched_getaffinity(0))
    half = len(usable) // 2
    return (usable[:half], usable[half:]) if half else (usable, usable)


OWN_RATE = """
import sys, time
from pathlib import Path
import allmlp
predictor = allmlp.Predictor(allmlp.open_model(sys.argv[1]), batch_size=32)
photos = sorted(Path(sys.argv[2]).glob("*.jpg"))
predictor.predict(photos)
start, number = time.perf_counter(), 0
while time.perf_counter() - start < float(sys.argv[3]):
    number += len(predictor.predict(photos))
print(number / (time.perf_counter() - start))
"""


def on(chosen: Sequence[int]) -> dict[str, Any]:
    """Return what makes a process compute on some cores only."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(len(chosen))}
    return {"preexec_fn": lambda: os.sched_setaffinity(0, chosen), "env": environment}


def own_rate(model: Path, folder: Path, seconds: float) -> float:
    """Return the photos per second without a server, on the server's cores."""
    command = [sys.executable, "-c", OWN_RATE, str(model), str(folder), str(seconds)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, **on(cores()[0])).stdout)


@contextlib.contextmanager
def server(command: Sequence[str], port: int) -> Iterator[psutil.Process]:
    """Run a server on its cores until the end of the block; yields its process once it answers."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **on(cores()[0]))
    try:
        end = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError):
                asyncio.run(ask(port, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
                break
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{command[:4]} does not answer")
            time.sleep(0.2)
        yield psutil.Process(process.pid)
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        process.wait(GIVE_UP_S)
        for child in psutil.wait_procs(children, timeout=5)[1]:
            child.kill()


async def ask(port: int, sent: bytes) -> int:
    """Send a request over a new connection and return the status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        line = await reader.readline()
        await reader.read()
        return int(line.split()[1]) if line else 0
    finally:
        writer.close()


def request_of(path: str, photo: bytes) -> bytes:
    """Return a request with a form of one photo, which both servers take."""
    part = (
        b'--edge\r\nContent-Disposition: form-data; name="photo"; filename="photo.jpg"\r\n\r\n'
        + photo
        + b"\r\n--edge--\r\n"
    )
    headers = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=edge\r\n"
    return headers.encode() + f"Content-Length: {len(part)}\r\nConnection: close\r\n\r\n".encode() + part


async def load(port: int, requests: Sequence[bytes], rate: float, seconds: float) -> list[tuple[int, float]]:
    """Send requests at a fixed rate; return the status and the latency of each, 0 for one without an answer."""
    found: list[tuple[int, float]] = []
    running: set[asyncio.Task[None]] = set()

    async def one(number: int, due: float) -> None:
        try:
            async with asyncio.timeout(GIVE_UP_S):
                status = await ask(port, requests[number % len(requests)])
        except (OSError, TimeoutError, ValueError):
            status = 0
        found.append((status, time.perf_counter() - due))

    start = time.perf_counter()
    for number in range(int(rate * seconds)):
        due = start + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if len(running) > NEVER:
            raise SystemExit("too many requests in flight for one machine; choose smaller --factors")
        task = asyncio.create_task(one(number, due))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    return found


def percentile(values: Sequence[float], share: float) -> float | None:
    return round(1000 * sorted(values)[min(len(values) - 1, int(share * len(values)))], 2) if values else None


def measure(
    process: psutil.Process, port: int, requests: Sequence[bytes], rate: float, seconds: float
) -> dict[str, Any]:
    """Return goodput, latencies (ms) of answers and refusals, and the server's peak memory (MB) at a rate."""

    async def both() -> tuple[list[tuple[int, float]], float]:
        loading = asyncio.create_task(load(port, requests, rate, seconds))
        peak = 0.0
        while not loading.done():
            with contextlib.suppress(psutil.Error):
                every = [process, *process.children(recursive=True)]
                peak = max(peak, sum(each.memory_info().rss for each in every) / 1e6)
            await asyncio.wait((loading,), timeout=0.25)
        return loading.result(), peak

    start = time.perf_counter()
    found, peak = asyncio.run(both())
    elapsed = time.perf_counter() - start
    good = [latency for status, latency in found if status == 200]
    refused = [latency for status, latency in found if status == 503]
    return {
        "rate": round(rate, 2),
        "requests": len(found),
        "answered": len(good),
        "refused": len(refused),
        "failed": len(found) - len(good) - len(refused),
        "goodput_per_s": round(len(good) / elapsed, 3),
        "answers_p50_ms": percentile(good, 0.5),
        "answers_p99_ms": percentile(good, 0.99),
        "refusals_p99_ms": percentile(refused, 0.99),
        "peak_mb": round(peak, 1),
    }


def contestants(model: Path, port: int, litserve: str | None, *, unbatched: bool) -> dict[str, tuple[list[str], str]]:
    """Return the command of each server, and the path that it answers at."""
    ours = [sys.executable, "-m", "allmlp", "serve", str(model), "--port", str(port), "--max-queue", str(MAX_QUEUE)]
    ours += ["--max-photos", str(MAX_QUEUE), "--max-batch"]
    found = {"allmlp": ([*ours, str(BATCH)], "/predict"), "allmlp, unbatched": ([*ours, "1"], "/predict")}
    if litserve is not None:
        command = [litserve, str(LITSERVE), str(model), str(port)]
        found["litserve"] = ([*command, str(BATCH)], "/predict")
        found["litserve, unbatched"] = ([*command, "1"], "/predict")
    return {title: each for title, each in found.items() if unbatched or not title.endswith("unbatched")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="S/16")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--factors", default="0.5,1,2,5")
    parser.add_argument("--litserve", metavar="PYTHON")
    parser.add_argument("--unbatched", action="store_true")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    factors = [float(word) for word in arguments.factors.split(",")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contents = photos()
        for index, content in enumerate(contents):
            (folder / f"{index:03}.jpg").write_bytes(content)
        model = write_model(arguments.variant, folder)
        rates = [own_rate(model, folder, min(10.0, arguments.seconds)) for _ in range(3)]
        own = statistics.median(rates)
        os.sched_setaffinity(0, cores()[1])
        print(f"own throughput: {own:.2f} photos/s")
        figures: dict[str, Any] = {"variant": arguments.variant, "seconds": arguments.seconds}
        figures |= {"own_per_s": [round(rate, 3) for rate in rates], "cores": [len(part) for part in cores()]}
        figures["servers"] = {}
        servers = contestants(model, arguments.port, arguments.litserve, unbatched=arguments.unbatched)
        for title, (command, path) in servers.items():
            requests = [request_of(path, content) for content in contents]
            rows = []
            for factor in factors:
                with server(command, arguments.port) as process:
                    measure(process, arguments.port, requests, own / 2, 2.0)  # warm
                    row = measure(process, arguments.port, requests, factor * own, arguments.seconds)
                rows.append({"factor": factor, **row, "share_of_own": round(row["goodput_per_s"] / own, 3)})
                print(title, rows[-1])
            figures["servers"][title] = rows
    if arguments.out != RESULT:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
    words = ["PYTHON" if word == arguments.litserve else word for word in sys.argv[1:]]
    print("wrote", record(arguments.out, figures, command=" ".join(["python benchmarks/serving.py", *words])))


if __name__ == "__main__":
    main()
