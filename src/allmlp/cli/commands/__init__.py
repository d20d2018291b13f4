"""One file per command. A command parses, calls one public function, and prints.

Touch: what is printed.
Do not touch: the heavy imports are inside the functions, so that `allmlp --help` is quick.
A new one: a file here and its name in the list of `cli/main.py`.
"""
