"""Arguments and options that several commands share, and their parsers.

Safe to change: help texts, parsing, messages.
Invariants: no command is imported here.
To add one: one file per kind of argument.
"""
