"""Write docs/studies/ and its pictures: `python -m experiments.studies`."""

from experiments.studies import PAGES, ROOT, page, stored_results

from allmlp.io.atomic_write import write_bytes, write_text
from allmlp.studies import load_study, results_in
from allmlp.studies.drawing import to_png

for name, result in stored_results().items():
    print("wrote", write_text(PAGES / f"{name}.md", page(name, result)).relative_to(ROOT))
    draw = load_study(name).figure
    if draw is not None:
        picture = ROOT / "docs" / "images" / "studies" / f"{name}.png"
        print("wrote", write_bytes(picture, to_png(draw(results_in(result)))).relative_to(ROOT))
