"""Rendering of pages with Jinja: HTML escaping, filters, and the style sheet that a page embeds."""

from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from allmlp.report import formatting

__all__ = ["render", "render_chunks"]

FILTERS = (formatting.count, formatting.duration, formatting.number, formatting.percent)


def render(template: str, **values: Any) -> str:
    """Render a file of templates/ with `values`.

    Every value is escaped, whatever its source. A name that the template uses but `values` lacks is an error.
    """
    return _environment().get_template(template).render(values)


def render_chunks(template: str, **values: Any) -> Iterator[str]:
    """Yield the parts of a page that may be too large to be in memory, rendered as `render` does."""
    stream = _environment().get_template(template).stream(values)
    stream.enable_buffering(100)
    return stream


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
    environment.globals["dict"] = dict
    environment.globals["style"] = Markup(_read_style())
    return environment


def _escape_controls(value: Any) -> Any:
    """Escape what HTML escaping does not: characters that could reorder or hide the text around them."""
    return formatting.show_controls(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _read_style() -> str:
    return resources.files("allmlp.report").joinpath("templates", "report.css").read_text(encoding="utf-8")
