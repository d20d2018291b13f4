"""Tables of docs/shards.md."""

from experiments.tables.markdown import caption, read, table


def index():
    result = read("benchmarks/results/shards.json")
    num_photos, num_workers = result["num_photos"], result["num_workers"]
    rows = [
        (
            "size of the index",
            f"{result['index_bytes'] / 1e6:.1f} MB, {result['index_bytes_per_photo']:.0f} bytes per photo",
        ),
        ("time to build it", f"{result['build_seconds']:.0f} s"),
        ("memory while it is built, at most", f"{result['build_peak_bytes'] / 1e6:.0f} MB"),
        ("time to open the data set with it", f"{result['open_seconds']['median']:.2f} s"),
        ("memory of the open data set", f"{result['open_resident_bytes'] / 1e6:.0f} MB"),
        (
            f"memory that each of {num_workers} readers has for itself",
            f"{result['private_bytes_per_worker'] / 1e6:.1f} MB",
        ),
        ("time to read a photo at random", f"{1e6 * result['seconds_per_read']['median']:.0f} µs"),
    ]
    return (
        f"{num_photos:,} synthetic photos of 200 bytes in {result['num_shards']} shards:\n\n"
        f"{table(('', ''), rows)}\n{caption(result)}"
    )


TABLES = {"index": index}
