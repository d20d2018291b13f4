"""The page at /: HTML and script in files of their own, served by this server and asking no other.

Safe to change: page.html, page.js. Style, icon, and what the page does with photos and answers are in allmlp/photo_page.
Invariants: names of classes and files are set as text, never as markup; nothing inline, as the policy of `gate` forbids it.
To add one: a file is an entry in `files`.
"""
