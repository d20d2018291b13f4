"""Mutated containers of photos: zips, tables and Parquet files, each opened and read in a child process.

    python -m tests.reliability.containers_matrix KIND FIRST LAST FOLDER

prints, as JSON, the problems, the longest time for one file in seconds of processor time, and the most memory in kilobytes.
"""

import json
import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from allmlp.data import open_dataset
from allmlp.errors import AllmlpError

ROOT = Path(__file__).parents[2]
KINDS = ("zip", "csv", "parquet")
MAX_SECONDS, MAX_KILOBYTES = 5.0, 1_000_000


def whole(kind: str, folder: Path, number: int) -> Path:
    """Write a sound data set of ten photos."""
    generator = random.Random(number)
    path = folder / f"x.{kind}"
    photos = {f"{'ab'[i % 2]}/{i}.jpg": generator.randbytes(generator.choice((10, 500, 3_000))) for i in range(10)}
    if kind == "zip":
        with zipfile.ZipFile(path, "w", generator.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
            for name, content in photos.items():
                archive.writestr(name, content)
    elif kind == "csv":
        (folder / "1.jpg").write_bytes(b"1")
        rows = [f'"1.jpg",{"ab"[i % 2]},{("train", "test")[i % 2]}' for i in range(10)]
        path.write_text("\n".join(["path,label,split", *rows]), encoding="utf-8")
    else:
        images = pa.array([{"bytes": content, "path": name} for name, content in photos.items()])
        labels = pa.array([i % 2 for i in range(10)]) if number % 2 else pa.array([name[0] for name in photos])
        pq.write_table(
            pa.table({"image": images, "label": labels}),
            path,
            row_group_size=4,
            use_dictionary=bool(number % 3),
            compression=generator.choice(("none", "snappy", "gzip", "zstd", "lz4", "brotli")),
            data_page_version=generator.choice(("1.0", "2.0")),
        )
    return path


def mutate(data: bytes, generator: random.Random) -> bytes:
    """Return the data with some bytes changed, removed, repeated or cut off, mostly where sizes and names are."""
    mutated = bytearray(data)
    for _ in range(generator.choice((1, 1, 2, 8))):
        position = generator.randrange(len(mutated))
        if generator.random() < 0.5:  # the lists are at the end
            position = max(0, len(mutated) - 1 - generator.randrange(min(1_500, len(mutated))))
        match generator.randrange(6):
            case 0 | 1:
                mutated[position] = generator.randrange(256)
            case 2:
                mutated[position : position + 4] = generator.choice((b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f"))
            case 3:
                del mutated[position : position + generator.randrange(1, 20)]
            case 4:
                mutated[position:position] = mutated[position : position + generator.randrange(1, 60)]
            case _:
                mutated = mutated[: max(1, position)] if generator.random() < 0.2 else mutated
    return bytes(mutated)


def try_all(kind: str, first: int, last: int, folder: Path) -> dict[str, Any]:
    """Open the mutants of a range, read their photos, and return what was not as it should be."""
    problems, slowest = [], 0.0
    for number in range(first, last):
        path = whole(kind, folder, number)
        path.write_bytes(mutate(path.read_bytes(), random.Random(number)))
        start = time.process_time()
        try:
            for split in open_dataset(path).splits.values():
                for index in range(min(10, len(split))):
                    split.read(index)
        except AllmlpError:
            pass
        except Exception as error:
            problems.append(f"{kind} {number}: {type(error).__name__}: {error}"[:300])
        seconds = time.process_time() - start
        slowest = max(slowest, seconds)
        if seconds > MAX_SECONDS:
            problems.append(f"{kind} {number}: {seconds:.1f} s")
    peak = int(Path("/proc/self/status").read_text(encoding="utf-8").partition("VmHWM:")[2].split()[0])
    if peak > MAX_KILOBYTES:
        problems.append(f"{kind} {first} to {last}: {peak:,} kB")
    return {"problems": problems, "seconds": slowest, "kilobytes": peak}


def in_child(kind: str, first: int, last: int, folder: Path) -> dict[str, Any]:
    """Return what `try_all` does, in a child process; a crash is one of the problems."""
    command = [sys.executable, "-m", "tests.reliability.containers_matrix", kind, str(first), str(last), str(folder)]
    child = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=1_200)
    if child.returncode:
        return {"problems": [f"{kind} {first} to {last}: exit code {child.returncode}: {child.stderr[-300:]}"]}
    return dict(json.loads(child.stdout))


if __name__ == "__main__":
    kind, first, last, folder = sys.argv[1:]
    sys.stdout.write(json.dumps(try_all(kind, int(first), int(last), Path(folder))))
