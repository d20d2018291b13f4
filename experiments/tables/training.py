"""Tables of docs/training.md."""

from experiments.tables.common import caption, read, table


def rand_augment():
    result = read("benchmarks/results/rand_augment.json")
    rows = []
    for size, figures in result["size"].items():
        ours = figures["two_layers_of_16"]["images_per_second"]
        shared = figures["one_layer_of_11"]
        columns = [ours["1"], ours["2"], *(shared[name]["1"]["images_per_second"] for name in ("ours", "torchvision"))]
        rows.append([f"{size} px", *(f"{rates['median']:,.0f}" for rates in columns)])
    cases = ("two layers of 16, 1 thread", "2 threads", "one layer of 11, 1 thread", "torchvision, 1 thread")
    levels_by_name = next(reversed(result["size"].values()))["one_layer_of_11"]["largest_difference"]
    differences = ", ".join(f"{name} by up to {levels}" for name, levels in levels_by_name.items() if levels)
    decoded = result["decoding_500x375"]["images_per_second"]
    return (
        f"Images per second at magnitude {result['magnitude']:g}, median of {decoded['n']} turns on a machine with other load:"
        f"\n\n{table(('image', *cases), rows)}\ntorchvision has equivalents of 11 of the 16 operations, for tensor batches; "
        f"{sum(not levels for levels in levels_by_name.values())} of them give the same bits as ours, the others differ "
        f"({differences} grey levels). One thread decodes {decoded['median']:,.0f} JPEGs of 500 × 375 pixels per second. "
        f"{caption(result)}"
    )


def muon():
    result = read("benchmarks/results/muon.json")
    rows = []
    for sets, measured in result.items():
        for recipe, figures in measured["recipes"].items():
            times, shares = figures["milliseconds"], figures["share_of_the_step"]
            cells = [f"{times[name]['median']:.0f} ms, {share:.1%}" for name, share in shares.items()]
            rows.append([recipe, sets, f"{times['gradient']['median']:.0f} ms", *cells, measured["training_takes"]])
    return (
        f"The optimizer step and its share of the training step, median of {times['Float32Muon']['n']} alternating turns:\n\n"
        + table(("recipe, precision", "processor", "gradient", *shares, "used in training"), rows)
        + "\n"
        + "".join(f"With {sets}: {caption(measured)}" for sets, measured in result.items())
    )


TABLES = {"muon": muon, "rand_augment": rand_augment}
