"""Tables of docs/weights.md."""

from experiments.tables.markdown import caption, read, table

from allmlp.checkpoints import CATALOG
from allmlp.studies import load_study, results_in
from allmlp.studies.paper.weights import differences


def catalogue():
    rows = []
    for model in CATALOG.values():
        source = f"hf:{model.hub_repository}" if model.hub_repository else model.url_path
        facts = (model.variant, model.trained_on, f"{model.config.num_classes:,}", model.config.gelu, model.accuracy)
        rows.append([f"`{model.name}`", *map(str, facts), str(source)])
    return table(("name", "variant", "trained on", "classes", "GELU", "ImageNet top-1", "file"), rows)


def resolution():
    result = read("experiments/resolution/results/resolution.json")
    methods = ("resample", "block", "patch size", "resize the photos", "random")
    rows = {(row["size"], row["way"]): row for row in result["rows"]}
    sizes = sorted({row["size"] for row in result["rows"] if row["way"] != "as it is"})

    def cell(size, method):
        row = rows.get((size, method))
        return "" if row is None else f"{100 * row['at_once']:.1f} → {100 * row['after_one_epoch']:.1f}"

    def before_fine_tuning(method):
        return ", ".join(f"{100 * rows[size, method]['at_once']:.1f}" for size in sizes)

    native_size = result["base"]["image_size"][0]
    native = rows[native_size, "as it is"]
    cells = [(str(size), f"{size / native_size:g}", *(cell(size, method) for method in methods)) for size in sizes]
    return (
        f"Test top-1 % before → after one epoch of fine-tuning on {result['num_training']:,} training photos, for a Mixer "
        f"trained on CIFAR-10 at 32 × 32 pixels ({result['base']['source']}), which reaches "
        f"{100 * native['at_once']:.1f} % at that size "
        f"({100 * native['after_one_epoch']:.1f} % after the same epoch):\n\n{table(('pixels', '×', *methods), cells)}\n"
        f"One run on {result['num_test']:,} test photos, a standard error of 0.4 points. Before fine-tuning, row by row, "
        f"`resample` with FlexiViT's undamped pseudo-inverse: {before_fine_tuning('pseudo-inverse')}; with interpolation "
        f"instead: {before_fine_tuning('interpolation')}. {caption(result)}"
    )


def structure():
    result = read("experiments/studies/results/weights.json")
    study, found = load_study("weights"), results_in(result)
    columns, rows = study.table(found)
    facts = found[0].figures
    return (
        f"{table(columns, rows)}\nMedians over the {facts['blocks'][0]['num_units']} units of each block and the "
        f"{facts['filters']['num_filters']} filters; untrained: mean ± standard deviation over Mixers of the same "
        f"architecture. {caption(result)}\n{differences(found)} Of so many figures, chance alone puts a few beyond this "
        f"margin. {study.agreement(found)}\n"
    )


TABLES = {"catalogue": catalogue, "resolution": resolution, "structure": structure}
