"""What pages that answer photos share, whether a server or the browser computes: script, style and icon.

Safe to change: photos.js (photos, bars, heat maps), style.css, icon.svg.
Invariants: names of classes and files are set as text, never as markup; no inline code or style, and no address of another
    host, as the pages' policies forbid them.
To add one: a file is an entry in `PAGE_FILES`.
"""

from allmlp.photo_page.files import PAGE_FILES, page_file

__all__ = ["PAGE_FILES", "page_file"]
