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
        if template.name == "label_errors.html":  # its own script, which the page's policy names by its digest
            assert (
                source.count("<script>{{ script }}</script>") == 1
                and "script-src 'sha256-{{ script_digest }}'" in source
            )
            source = source.replace("<script>{{ script }}</script>", "").replace('<script type="application/json"', "")
        assert not [word for word in ("|safe", "| safe", "autoescape", "<script", "http:", "https:") if word in source]
