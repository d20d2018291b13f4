"""Facts about the templates: what they must have, and what they must not do."""

from importlib import resources

import pytest
from jinja2 import UndefinedError

from allmlp.report.rendering import render


def test_a_name_that_a_template_lacks_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'page' is undefined"):
        render("report.html")


def test_templates_switch_no_escaping_off_and_run_no_script() -> None:
    folders = [resources.files("allmlp.report").joinpath(name) for name in ("templates", "templates/sections")]
    templates = [path for folder in folders for path in folder.iterdir() if path.name.endswith(".html")]
    assert len(templates) >= 10
    for template in templates:
        source = template.read_text(encoding="utf-8")
        assert not [word for word in ("|safe", "| safe", "autoescape", "<script", "http:", "https:") if word in source]
