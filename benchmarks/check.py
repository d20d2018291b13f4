"""Cost of `allmlp check`: its time, relative to decoding the same photos in as many threads, in alternation.

"decode" is allmlp's decoder, which also finds photos that lack pixels; "pillow" converts to RGB without any check.

python benchmarks/check.py PHOTOS [--turns 9]
"""

import argparse
import time
from io import BytesIO
from pathlib import Path

from PIL import Image

from allmlp.provenance import record, spread

RESULT = Path(__file__).parent / "results" / "check.json"


def ratios(values, others):
    """Return the spread of the ratios within each turn, which other load on the machine changes less than the times."""
    return spread([value / other for value, other in zip(values, others, strict=True)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="photos in any form that allmlp reads")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--result", type=Path, default=RESULT)
    arguments = parser.parse_args()

    from allmlp.data import check, decode, open_dataset
    from allmlp.hardware.num_decoding_threads import num_decoding_threads
    from allmlp.io.ordered_map import ordered_map

    dataset = open_dataset(arguments.data)

    def each(work):
        for split in dataset.splits.values():

            def read(index, split=split):
                work(split.read(index))

            for _ in ordered_map(read, split.storage_order().tolist(), num_decoding_threads()):
                pass

    def pillow():
        each(lambda content: Image.open(BytesIO(content)).convert("RGB"))

    def plain():
        each(lambda content: decode(content, name="photo"))

    def checked():
        check(dataset, use_cache=False)

    contestants = {"pillow": pillow, "decode": plain, "check": checked}
    seconds, cpu_seconds = ({name: [] for name in contestants} for _ in range(2))
    for turn in range(arguments.turns + 1):
        for name, work in contestants.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            work()
            if turn:  # the first turn fills the cache of the file system
                seconds[name].append(time.perf_counter() - start)
                cpu_seconds[name].append(time.process_time() - cpu_start)
    check(dataset)
    start = time.perf_counter()
    check(dataset)
    figures = {
        "photos": sum(map(len, dataset.splits.values())),
        "threads": num_decoding_threads(),
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "cpu_seconds": {name: spread(values) for name, values in cpu_seconds.items()},
        "ratio_to_decode": ratios(seconds["check"], seconds["decode"]),
        "ratio_to_pillow": ratios(seconds["check"], seconds["pillow"]),
        "cpu_ratio_to_decode": ratios(cpu_seconds["check"], cpu_seconds["decode"]),
        "cpu_ratio_to_pillow": ratios(cpu_seconds["check"], cpu_seconds["pillow"]),
        "second_check_seconds": round(time.perf_counter() - start, 3),
    }
    print(
        f"check takes {figures['ratio_to_decode']['median']:.2f} times the time of decoding, "
        f"{figures['ratio_to_pillow']['median']:.2f} times that of Pillow alone; again, unchanged: "
        f"{figures['second_check_seconds']:.2f} s"
    )
    print(
        "wrote",
        record(arguments.result, figures, command=f"python benchmarks/check.py PHOTOS --turns {arguments.turns}"),
    )


if __name__ == "__main__":
    main()
