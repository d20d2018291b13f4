"""The commands, one file each. A command parses its arguments, calls one public function and prints the result.

Touch: the output.
Do not touch: the heavy imports stay inside the functions, so that `allmlp --help` is fast.
A new one: a file here and its name in the list in `cli/main.py`.
"""
