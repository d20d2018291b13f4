"""The pictures of pages in docs/images: makes each page as a user would, and opens it in Chromium.

    python -m experiments.screenshots [--work runs/screenshots] [--chromium chromium]

Each page is photographed in light, in dark, and at the width of a phone (390 px). Runs that exist in --work are used again.
"""

import argparse
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path

from experiments.draws import draw
from PIL import Image

IMAGES = Path(__file__).parents[1] / "docs" / "images"
HEIGHTS = {"light": 900, "dark": 900, "phone": 900}
# Headless Chromium has no windows as narrow as a phone; a frame has.
STYLE = "body{margin:0}iframe{border:0;width:390px;height:100vh}"


def allmlp(work, *arguments):
    """Run a command in the folder `work`, so that the pages show short paths."""
    subprocess.run([sys.executable, "-m", "allmlp", *map(str, arguments)], check=True, cwd=work)


def folder_of(photos, folder):
    """Write the photos of a data set as FOLDER/<class>/<number>.webp."""
    for name, split in photos.splits.items():
        for index in range(len(split)):
            file = folder / name / photos.class_names[split.labels[index]] / f"{index:04}.webp"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(split.read(index))


def pages(work):
    """Make the pages, each by its command, and return their files by name."""
    photos = work / "photos"
    if not photos.exists():
        folder_of(draw("clothing", 200, 0, max_unseen=100)[0], photos)
        folder_of(draw("clothing", 200, 0, max_unseen=100)[1], photos)
    for name, options in {
        "first": ("--epochs", 30),
        "second": ("--epochs", 30, "--set", "optimizer.learning_rate=0.001"),
    }.items():
        if not (work / "runs" / name / "metrics.json").exists():
            run = ("finetune", "photos/train", "--out", f"runs/{name}", "--trained-blocks", 0, "--folds", 3)
            allmlp(work, *run, *options)
    names = ("evaluation", "comparison", "cleaning", "predictions")
    for name in names:
        (work / f"{name}.html").unlink(missing_ok=True)
    allmlp(work, "evaluate", "runs/first", "photos/test", "--report", "evaluation.html")
    allmlp(work, "compare", "runs/first", "runs/second", "--out", "comparison.html")
    allmlp(work, "clean", "runs/first", "--page", "cleaning.html")
    allmlp(work, "predict", "runs/first", "photos/test", "--sheet", "predictions.html")
    shutil.rmtree(work / "explanations", ignore_errors=True)
    explained = [next(folder.iterdir()).relative_to(work) for folder in sorted((photos / "test").iterdir())]
    allmlp(work, "predict", "runs/first", *explained, "--explain", "explanations")
    return {
        "run": work / "runs" / "first" / "report.html",
        "explanations": work / "explanations" / "index.html",
        **{name: work / f"{name}.html" for name in names},
    }


def photograph_served(work, chromium):
    """Serve the first run, give its page two photos, and write what it shows in each look (by playwright)."""
    from playwright.sync_api import sync_playwright

    photos = sorted((work / "photos" / "test").glob("*/*.webp"))
    command = [sys.executable, "-m", "allmlp", "serve", "runs/first", "--port", "0"]
    with subprocess.Popen(command, cwd=work, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as server:
        address = next(word for line in server.stderr for word in line.split() if word.startswith("http://"))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which(chromium), args=["--no-sandbox"])
            for look in HEIGHTS:
                size = {"width": 390 if look == "phone" else 1280, "height": HEIGHTS[look]}
                page = browser.new_page(viewport=size, color_scheme="dark" if look == "dark" else "light")
                page.goto(address)
                page.set_input_files("#files", [photos[0], photos[len(photos) // 2]])
                page.get_by_role("status").get_by_text("2 photos done", exact=True).wait_for()
                if page.locator("button.bar").count():
                    page.locator("button.bar").first.hover()
                    page.locator("canvas").wait_for()
                with Image.open(BytesIO(page.screenshot())) as image:
                    write("serve", look, image.convert("RGB"))
            browser.close()
        server.terminate()


def write(name, look, picture):
    """Write a picture to docs/images."""
    content = BytesIO()
    picture.quantize(128).save(content, "PNG", optimize=True)  # a third of the bytes, and no visible difference
    file = IMAGES / (f"{name}.png" if look == "light" else f"{name}-{look}.png")
    file.write_bytes(content.getvalue())
    print("wrote", file, f"{len(content.getvalue()) / 1000:.0f} kB")


def photograph(page, look, chromium, work):
    """Return a picture of the top of a page, as it looks in light, in dark, or on a phone."""
    height = HEIGHTS[look]
    address = page.resolve().as_uri()
    if look == "phone":
        frame = work / "frame.html"
        frame.write_text(f'<!doctype html><style>{STYLE}</style><iframe src="{address}"></iframe>', encoding="utf-8")
        address = frame.resolve().as_uri()
    file = work / "screenshot.png"
    command = [
        *(chromium, "--headless", "--no-sandbox", "--hide-scrollbars", "--allow-file-access-from-files"),
        *(f"--screenshot={file}", f"--window-size={1280 if look != 'phone' else 500},{height}"),
        *(["--force-dark-mode"] if look == "dark" else []),
        address,
    ]
    subprocess.run(command, check=True, capture_output=True)
    with Image.open(file) as image:
        return image.convert("RGB").crop((0, 0, 390 if look == "phone" else 1280, height))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/screenshots"))
    parser.add_argument("--chromium", default="chromium")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    for name, page in pages(arguments.work).items():
        for look in HEIGHTS:
            picture = photograph(page, look, arguments.chromium, arguments.work)
            write(name, look, picture)
    photograph_served(arguments.work, arguments.chromium)


if __name__ == "__main__":
    main()
