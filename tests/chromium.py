"""Chromium for tests of pages, and what a page without any library can check about itself."""

import contextlib
import importlib.util
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

__all__ = ["LOW_CONTRAST", "UNNAMED", "chromium", "needs_chromium"]

_PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(
    _PROGRAM is None or importlib.util.find_spec("playwright") is None, reason="no Chromium, or no playwright"
)


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Start a browser of playwright, and end it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_PROGRAM, args=["--no-sandbox"])
        yield browser
        browser.close()


# Names, roles, contrast and focus, as a page without any library can check them.
UNNAMED = """() => [...document.querySelectorAll("button, input, img, a, textarea")].filter((element) => {
  if (!element.checkVisibility()) return false;
  const label = element.labels && element.labels.length ? element.labels[0].textContent : "";
  return !(element.getAttribute("aria-label") || element.alt || label || element.textContent).trim();
}).map((element) => element.outerHTML)"""
LOW_CONTRAST = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => numbers(colour).slice(0, 3).map((value) => value / 255)
    .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (numbers(colour).length === 3 || numbers(colour)[3] > 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("body *")].filter((element) => {
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!hasText || !element.checkVisibility()) return false;
    const [low, high] = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05) < 4.5;
  }).map((element) => element.outerHTML.slice(0, 100));
}"""
