"""Index of tar shards: its size, the time to build and to open it, and the memory of processes that read through it.

    python benchmarks/shards.py [--photos 100000] [--workers 4]
    python benchmarks/shards.py --photos 10000000      # needs 31 GB of disk for the synthetic shards

The shards are synthetic: photos of 200 random bytes, with the members and names that `allmlp shard` writes, 20,000 per
shard. Photos are not decoded. Each worker is a new process that gets the reader as any process would, by pickle, and reads
2,000 photos at random. Its private memory is what no other process shares; that of a worker with the same modules and no
reader is subtracted.
"""

import argparse
import json
import multiprocessing
import pickle
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from allmlp.data import open_dataset
from allmlp.provenance import record, spread

RESULT = Path(__file__).parent / "results" / "shards.json"
PER_SHARD = 20_000
NUM_CLASSES = 1000
NUM_READS = 2000
TURNS = 5


def write(folder, num_photos):
    """Write shards as `allmlp shard` does, without a folder of as many photos to read from."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    names = [f"n{number:08}" for number in range(NUM_CLASSES)]
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in names))
    for shard, start in enumerate(range(0, num_photos, PER_SHARD)):
        with (folder / f"train-{shard:06}.tar").open("wb") as file:
            for number in range(start, min(start + PER_SHARD, num_photos)):
                label = number % NUM_CLASSES
                facts = {"class_name": names[label], "label": label, "sample_id": f"{names[label]}/{number:09}.jpg"}
                for field, data in (
                    ("jpg", generator.bytes(200)),
                    ("cls", str(label).encode()),
                    ("json", json.dumps(facts).encode()),
                ):
                    info = tarfile.TarInfo(f"{number:09}.{field}")
                    info.size = len(data)
                    file.write(info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512))
            file.write(bytes(1024))


def memory():
    """Return the memory of this process in bytes: private, proportional share of what is shared, and resident."""
    info = psutil.Process().memory_full_info()
    return {"private": info.uss, "proportional": info.pss, "resident": info.rss}


def work(pickled, num_photos, seed, barrier, results):
    """Read photos at random in a process of its own, and report its memory while all are alive."""
    import pyarrow.ipc  # noqa: F401 - the same modules with and without a reader

    import allmlp.data.sources.tar_shards.opening_shards  # noqa: F401

    seconds = 0.0
    if pickled is not None:
        reader = pickle.loads(pickled)
        chosen = np.random.default_rng(seed).integers(0, num_photos, NUM_READS)
        start = time.perf_counter()
        for index in chosen.tolist():
            reader.read(index)
        seconds = time.perf_counter() - start
    barrier.wait()
    results.put((memory(), seconds))
    barrier.wait()


def workers_memory(pickled, num_photos, num_workers):
    """Return the median memory of the workers, and the seconds of each for its photos."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(num_workers), context.Queue()
    processes = [
        context.Process(target=work, args=(pickled, num_photos, seed, barrier, results)) for seed in range(num_workers)
    ]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return {name: int(np.median([figures[name] for figures, _ in found])) for name in found[0][0]}, [
        s for _, s in found
    ]


def opened(source, results):
    """Open a data set in a process of its own: whether the index is built shows in its memory."""
    before = memory()
    start = time.perf_counter()
    dataset = open_dataset(source)
    seconds = time.perf_counter() - start
    results.put((seconds, psutil.Process().memory_info().rss - before["resident"], peak() - before["resident"]))
    assert len(dataset.splits["train"])


def peak():
    """Return the largest resident memory that this process has had, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def open_once(source):
    """Return the seconds to open a data set in a new process, the memory it then has, and the most it had."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=opened, args=(source, results))
    process.start()
    figures = results.get()
    process.join()
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--folder", type=Path, help="where the shards are written for the time of the benchmark")
    parser.add_argument("--result", type=Path, default=RESULT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary) / "shards"
        write(folder, arguments.photos)
        shard_bytes = sum(path.stat().st_size for path in folder.glob("*.tar"))
        build_seconds, _, build_peak = open_once(folder)
        index_bytes = (folder / ".allmlp-index.arrow").stat().st_size
        openings = [open_once(folder) for _ in range(TURNS)]
        split = open_dataset(folder).splits["train"]
        pickled = pickle.dumps(split.reader)
        bare, _ = workers_memory(None, arguments.photos, arguments.workers)
        used, seconds = workers_memory(pickled, arguments.photos, arguments.workers)
    figures = {
        "num_photos": arguments.photos,
        "num_shards": -(-arguments.photos // PER_SHARD),
        "shard_bytes": shard_bytes,
        "index_bytes": index_bytes,
        "index_bytes_per_photo": round(index_bytes / arguments.photos, 1),
        "build_seconds": round(build_seconds, 3),
        "build_peak_bytes": build_peak,
        "open_seconds": spread([each[0] for each in openings]),
        "open_resident_bytes": int(np.median([each[1] for each in openings])),
        "pickled_reader_bytes": len(pickled),
        "num_workers": arguments.workers,
        "worker_bytes_without_reader": bare,
        "worker_bytes": used,
        "private_bytes_per_worker": used["private"] - bare["private"],
        "seconds_per_read": spread([each / NUM_READS for each in seconds]),
    }
    print(record(arguments.result, figures, command=f"benchmarks/shards.py --photos {arguments.photos}"))
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
