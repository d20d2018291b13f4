"""What the weights of a trained Mixer look like, next to untrained ones (figures 5 to 7 of the paper).

    python -m experiments.studies.weights [--checkpoint starter] [--seeds 5]

Claim: hidden units of token mixing become smooth pictures in pairs of opposing phase, and so do the filters of the patch
projection; untrained ones are noise. Writes the medians of every block, trained and untrained, and the picture of
docs/weights.md. The untrained Mixers have the checkpoint's architecture; their medians are given as mean and spread
over the seeds.
"""

import argparse
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image

from allmlp import analyse_weights, draw_weights, load_checkpoint
from allmlp.config import to_dict
from allmlp.provenance import record, spread

RESULT = Path(__file__).parent / "results" / "weights.json"
PICTURE = Path(__file__).parents[2] / "docs" / "images" / "weights.png"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="starter")
    parser.add_argument("--seeds", type=int, default=5, help="untrained Mixers")
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(arguments.checkpoint)
    analyses = [analyse_weights(checkpoint, seed=seed) for seed in range(arguments.seeds)]
    summaries = [analysis.summary() for analysis in analyses]
    figures = {
        "source": checkpoint.source,
        "model": to_dict(checkpoint.config),
        "num_untrained": arguments.seeds,
        "max_pair_cosine": summaries[0]["max_pair_cosine"],
        "blocks": [
            {"block": block["block"], **compared(block["trained"], [each["blocks"][index] for each in summaries])}
            for index, block in enumerate(summaries[0]["blocks"])
        ],
        "filters": compared(summaries[0]["filters"]["trained"], [each["filters"] for each in summaries]),
    }
    command = f"python -m experiments.studies.weights --checkpoint {arguments.checkpoint} --seeds {arguments.seeds}"
    print("wrote", record(RESULT, figures, command=command))
    draw(analyses[0])


def compared(trained, runs):
    """Return the facts of the trained Mixer, and the spread of those of the untrained ones."""
    untrained = [with_share(run["untrained"]) for run in runs]
    names = [name for name in with_share(trained) if not name.startswith("num_") and name != "median_pair_cosine"]
    return {
        "trained": with_share(trained),
        "untrained": {name: spread([run[name] for run in untrained]) for name in names},
    }


def with_share(facts):
    """Return facts with the share of units that have a partner, if they are of units."""
    return facts | ({"share_paired": facts["num_paired"] / facts["num_units"]} if "num_units" in facts else {})


def draw(analysis):
    """Write the picture of docs/weights.md."""
    with tempfile.TemporaryDirectory() as folder:
        file, _ = draw_weights(analysis, Path(folder) / "weights.png")
        with Image.open(file) as image:
            content = BytesIO()
            image.convert("RGB").save(content, "PNG", optimize=True)
    PICTURE.write_bytes(content.getvalue())
    print("wrote", PICTURE, f"{len(content.getvalue()) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
