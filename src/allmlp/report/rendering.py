"""The Jinja environment of the pages: HTML escaping, filters, and the style that a page holds."""

from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from allmlp.report import formatting

__all__ = ["render"]

FILTERS = (formatting.count, formatting.duration, formatting.number, formatting.percent)


def render(template: str, **values: Any) -> str:
    """Return the page that a file of templates/ makes of `values`.

    Every value is escaped, whatever it comes from. A name that the template uses and `values` lack is an error.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("allmlp.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_escape_controls,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {function.__name__: function for function in FILTERS}
    environment.globals["style"] = Markup(_read_style())
    return environment


def _escape_controls(value: Any) -> Any:
    """Escape what HTML escaping leaves: characters that could reorder or hide the text around them."""
    return formatting.show_controls(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _read_style() -> str:
    return resources.files("allmlp.report").joinpath("report.css").read_text(encoding="utf-8")
