"""Cost of `allmlp check`: its time, relative to plain decoding of the same photos, in alternation.

python benchmarks/check.py PHOTOS [--turns 9]
"""

import argparse
import statistics
import time
from pathlib import Path

from allmlp.provenance import record, spread

RESULT = Path(__file__).parent / "results" / "check.json"


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

    def plain():
        for split in dataset.splits.values():
            order = split.storage_order().tolist()

            def read(index, split=split):
                decode(split.read(index), name=split.where(index))

            for _ in ordered_map(read, order, num_decoding_threads()):
                pass

    def checked():
        check(dataset, use_cache=False)

    seconds = {"decode": [], "check": []}
    for turn in range(arguments.turns + 1):
        for name, work in (("decode", plain), ("check", checked)):
            start = time.perf_counter()
            work()
            if turn:  # the first turn fills the cache of the file system
                seconds[name].append(time.perf_counter() - start)
    check(dataset)
    start = time.perf_counter()
    check(dataset)
    figures = {
        "photos": sum(map(len, dataset.splits.values())),
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "ratio_of_medians": round(statistics.median(seconds["check"]) / statistics.median(seconds["decode"]), 3),
        "second_check_seconds": round(time.perf_counter() - start, 3),
    }
    print(
        f"check takes {figures['ratio_of_medians']:.2f} times the time of decoding; again, unchanged: "
        f"{figures['second_check_seconds']:.2f} s"
    )
    print(
        "wrote",
        record(arguments.result, figures, command=f"python benchmarks/check.py PHOTOS --turns {arguments.turns}"),
    )


if __name__ == "__main__":
    main()
