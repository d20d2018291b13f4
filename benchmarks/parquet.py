"""Time to read a photo from Parquet in storage order and shuffled, from files larger than the cache, by compression.

    python benchmarks/parquet.py [--photos 7000] [--turns 3]

The photos are random bytes, 100 kB each: encoded photos do not compress. Files are written by pyarrow with its defaults and 100
photos per row group, as Hugging Face's datasets library does. The first turn fills the file system's cache and is not counted.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from allmlp.data import open_dataset
from allmlp.provenance import record, spread

RESULT = Path(__file__).parent / "results" / "parquet.json"
CODECS = ("none", "snappy", "zstd", "gzip", "brotli")
NUM_BYTES = 100_000
GROUP = 100


def write(path, num_photos, codec):
    generator = np.random.default_rng(0)
    schema = pa.schema({"image": pa.struct({"bytes": pa.binary(), "path": pa.string()}), "label": pa.int64()})
    with pq.ParquetWriter(path, schema, compression=codec) as writer:
        for start in range(0, num_photos, GROUP):
            images = [{"bytes": generator.bytes(NUM_BYTES), "path": f"{start + index}.jpg"} for index in range(GROUP)]
            writer.write_table(
                pa.table({"image": images, "label": [index % 2 for index in range(GROUP)]}, schema=schema)
            )


def seconds_per_photo(split, order):
    start = time.perf_counter()
    for index in order:
        split.read(index)
    return (time.perf_counter() - start) / len(order)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=7000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--result", type=Path, default=RESULT)
    arguments = parser.parse_args()
    cases = {}
    for codec in CODECS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "train.parquet"
            write(path, arguments.photos, codec)
            start = time.perf_counter()
            split = open_dataset(path).splits["train"]
            opening = time.perf_counter() - start
            orders = {
                "in order": split.storage_order().tolist(),
                "shuffled": np.random.default_rng(1).permutation(len(split)).tolist(),
            }
            times = {name: [] for name in orders}
            for turn in range(arguments.turns + 1):
                for name, order in orders.items():
                    seconds = seconds_per_photo(split, order)
                    if turn:
                        times[name].append(seconds)
        cases[codec] = {"opening_seconds": round(opening, 3)} | {name: spread(values) for name, values in times.items()}
        ratio = cases[codec]["shuffled"]["median"] / cases[codec]["in order"]["median"]
        cases[codec]["ratio_of_medians"] = round(ratio, 2)
        print(f"{codec}: {1e3 * cases[codec]['in order']['median']:.3f} ms in order, {ratio:.2f} times that shuffled")
    figures = {"photos": arguments.photos, "bytes_per_photo": NUM_BYTES, "cases": cases}
    record(arguments.result, figures, command=f"python benchmarks/parquet.py --photos {arguments.photos}")
    print(f"wrote {arguments.result}")


if __name__ == "__main__":
    main()
