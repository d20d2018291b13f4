"""The commands, one file each. A command parses its arguments, calls one public function and prints the result.

Safe to change: the output.
Invariants: the heavy imports stay inside the functions, so that `allmlp --help` is fast.
To add one: a file here and its name in the list in `cli/main.py`.
"""
