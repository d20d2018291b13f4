"""The page at /: HTML, style and script in files of their own, served by this server and asking no other.

Safe to change: page.html, page.css, page.js, icon.svg.
Invariants: names of classes and files are set as text, never as markup; nothing inline, as the policy of `gate` forbids it.
To add one: a file is an entry in `files`.
"""
