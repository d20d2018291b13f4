"""The rate at which one core reads training photos: whole photos, crops alone, and timm's loader, in one process.

    python benchmarks/input.py PHOTOS

at 224 pixels, with both filters, on an otherwise idle machine. Results go to results/input.json.
"""

import argparse
from pathlib import Path

from allmlp.bench import measure_input
from allmlp.data import Preprocessing, open_dataset
from allmlp.provenance import record

RESULT = Path(__file__).parent / "results" / "input.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", help="photos in any form that allmlp reads")
    parser.add_argument("--minutes", type=float, default=2, help="CPU time per filter")
    parser.add_argument("--result", type=Path, default=RESULT)
    arguments = parser.parse_args()
    split = open_dataset(arguments.photos).splits["train"]
    figures = {}
    for interpolation in ("bilinear", "bicubic"):
        preprocessing = Preprocessing(image_size=(224, 224), interpolation=interpolation)
        figures[interpolation] = measure_input(split, preprocessing, seconds=60 * arguments.minutes, num_rounds=20)
    command = f"python benchmarks/input.py PHOTOS --minutes {arguments.minutes:g}"
    print("wrote", record(arguments.result, {"filters": figures}, command=command))


if __name__ == "__main__":
    main()
