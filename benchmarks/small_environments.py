"""The size on disk of the environments that run exports without PyTorch.

    python benchmarks/small_environments.py

Each is made with venv and pip, from the package index that pip is configured for, and removed again. pip itself and byte code
are left out.
"""

import argparse
import subprocess
import tempfile
import venv
from pathlib import Path

from allmlp.exports import ENGINES, write_requirements
from allmlp.provenance import record

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "small_environments.json"


def measure(*arguments):
    """Return the bytes and the number of the packages that `pip install ARGUMENTS` puts into a new environment."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=False, symlinks=True)
        python = Path(folder) / "bin" / "python"
        pip = ["python", "-m", "pip", "--python", python, "install", "--quiet", "--no-compile", *arguments]
        subprocess.run(pip, check=True, cwd=ROOT)
        [packages] = (Path(folder) / "lib").glob("python*/site-packages")
        sizes = [path.lstat().st_size for path in packages.rglob("*") if path.is_file()]
        return {"bytes": sum(sizes), "num_packages": len(list(packages.glob("*.dist-info")))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    environments = {}
    for to, engine in ENGINES.items():
        with tempfile.TemporaryDirectory() as folder:
            listed = Path(folder) / "requirements.txt"
            write_requirements(to, listed)
            environments[engine] = measure("--no-deps", ".", "-r", listed)
        print(engine, environments[engine])
    print("wrote", record(RESULT, {"environments": environments}, command="python benchmarks/small_environments.py"))


if __name__ == "__main__":
    main()
