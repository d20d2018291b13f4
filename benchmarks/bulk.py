"""Bulk prediction end to end, against the rate of the model alone: files read, decoded, resized, computed, written and synced.

python benchmarks/bulk.py [--model CHECKPOINT] [--photos 100000] [--rounds 3]

The photos are the packaged ones of clothing, written under as many names as asked for. Each round measures the model
alone on photos that are prepared already; the rest alone, in one thread and without allmlp (Pillow and NumPy read, decode
and normalise); and then the whole. The order alternates. On a machine that others use, too, the clock says little. With
OMP_NUM_THREADS=1, the time of the processor is divided: if the model takes M of it per photo in the whole run, and all
else A, its share is M / (M + A). With D, what the rest takes alone, in the place of A, this is the share that no program
of these parts can exceed if it keeps all cores busy.
"""

import argparse
import dataclasses
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from allmlp.provenance import record, spread

RESULT = Path(__file__).parent / "results" / "bulk.json"
_ALONE_SECONDS = 5.0


def write_photos(folder: Path, count: int) -> None:
    """Write the packaged photos as files, again and again, a thousand per folder."""
    import pyarrow.parquet as pq

    import allmlp

    samples = Path(allmlp.__file__).parent / "data" / "samples" / "clothing"
    contents = [
        image["bytes"]
        for name in ("train", "test")
        for image in pq.read_table(samples / f"{name}.parquet")["image"].to_pylist()
    ]
    for number, content in zip(range(count), itertools.cycle(contents), strict=False):
        path = folder / f"{number // 1000:04d}" / f"{number:07d}.webp"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds and the processor seconds of an action."""
    wall, processor = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter", help="any checkpoint or export")
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--task", choices=("predict", "embed"), default="predict")
    parser.add_argument("--dry", action="store_true", help="write no result")
    arguments = parser.parse_args()

    import numpy as np
    from PIL import Image

    from allmlp.bulk import ModelOptions, PlanOptions, Request, compute_parts, find_listed, load_model, open_results
    from allmlp.data import decode
    from allmlp.io.display import discard, no_progress

    options = ModelOptions()
    loaded = load_model(arguments.model, options)
    model = loaded.open("logits" if arguments.task == "predict" else "features")
    in_model = [0.0]

    def timed_forward(images: Any) -> Any:
        start = time.thread_time()
        outputs = model.forward(images)
        in_model[0] += time.thread_time() - start
        return outputs

    timed_model = dataclasses.replace(model, forward=timed_forward)
    has_one_thread = (model.settings or {}).get("num_threads") == 1
    rows: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        photos = Path(temporary) / "photos"
        photos.mkdir()
        write_photos(photos, arguments.photos)
        some = sorted(photos.rglob("*.webp"))[: arguments.batch_size]
        prepared = [model.preparation.resize(decode(path.read_bytes(), name=str(path))) for path in some]
        batch = model.preparation.normalise(np.stack(prepared))
        model.forward(batch)

        def alone() -> None:
            end, count = time.perf_counter() + _ALONE_SECONDS, 0
            wall, processor = time.perf_counter(), time.process_time()
            while time.perf_counter() < end:
                model.forward(batch)
                count += len(batch)
            add("model_photos_per_second", count / (time.perf_counter() - wall))
            add("model_processor_milliseconds_per_photo", 1000 * (time.process_time() - processor) / count)

        def rest() -> None:
            files = [str(path) for path in itertools.islice(photos.rglob("*.webp"), 1024)]
            processor = time.process_time()
            for start in range(0, len(files), arguments.batch_size):
                pixels = [
                    np.asarray(Image.open(path).convert("RGB")) for path in files[start : start + arguments.batch_size]
                ]
                model.preparation.normalise(np.stack([model.preparation.resize(each) for each in pixels]))
            add("rest_processor_milliseconds_per_photo", 1000 * (time.process_time() - processor) / len(files))

        def whole(number: int) -> None:
            request = Request(
                task=arguments.task,
                model=arguments.model,
                model_sha256=loaded.digest,
                model_options=options,
                options=PlanOptions(),
                photos=(str(photos),),
            )
            folder = Path(temporary) / f"results-{number}"
            in_model[0] = 0.0
            wall, processor = time.perf_counter(), time.process_time()
            results, _ = open_results(
                folder, request, lambda: find_listed([str(photos)], report=discard), report=discard
            )
            add("listing_seconds", time.perf_counter() - wall)
            compute_parts(
                results, lambda: timed_model, batch_size=arguments.batch_size, progress=no_progress, report=discard
            )
            add("photos_per_second", arguments.photos / (time.perf_counter() - wall))
            used = time.process_time() - processor
            add("processor_milliseconds_per_photo", 1000 * used / arguments.photos)
            if has_one_thread:
                rest_time = rows["rest_processor_milliseconds_per_photo"][-1] / 1000 * arguments.photos
                add("model_milliseconds_in_the_whole_per_photo", 1000 * in_model[0] / arguments.photos)
                add("share_by_processor", in_model[0] / used)
                add("possible_share", in_model[0] / (in_model[0] + rest_time))

        def add(name: str, value: float) -> None:
            rows.setdefault(name, []).append(value)

        for number in range(arguments.rounds):
            rest()
            for step in (alone, lambda number=number: whole(number))[:: 1 if number % 2 == 0 else -1]:
                step()
    ratios = [a / b for a, b in zip(rows["photos_per_second"], rows["model_photos_per_second"], strict=True)]
    figures = {"photos": arguments.photos, "model": arguments.model, "task": arguments.task}
    figures |= {name: spread(values) for name, values in rows.items()}
    figures["share_of_model_rate"] = spread(ratios)
    for name, value in figures.items():
        print(name, value)
    print(f"median share of the model's rate: {statistics.median(ratios):.3f}")
    if not arguments.dry:
        command = (
            f"python benchmarks/bulk.py --model {arguments.model} --photos {arguments.photos} --task {arguments.task}"
        )
        record(RESULT, figures, command=command)


if __name__ == "__main__":
    main()
