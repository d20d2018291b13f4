"""The description in the package's metadata: README.md, where a package index can show it.

Relative links lead nowhere on a package index. They become absolute if pyproject.toml names the repository under
[project.urls], and otherwise plain text.
"""

import re
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
BRANCH = "HEAD"  # of the repository; GitHub, GitLab and Forgejo redirect it to the default branch
RELATIVE_LINK = re.compile(r"(!?)\[([^]]*)\]\((?![a-z]+:|#)([^)]+)\)")


def description(readme: str, repository: str | None) -> str:
    """Return `readme` with absolute links into `repository`, such as "https://example.org/allmlp"; without them for None."""

    def link(match: re.Match[str]) -> str:
        mark, text, path = match.groups()
        if repository is None:
            return "" if mark else text
        return f"{mark}[{text}]({repository.rstrip('/')}/{'raw' if mark else 'blob'}/{BRANCH}/{path})"

    return RELATIVE_LINK.sub(link, readme)


if __name__ == "__main__":
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    setup(
        long_description=description((ROOT / "README.md").read_text(encoding="utf-8"), urls.get("Repository")),
        long_description_content_type="text/markdown",
    )
