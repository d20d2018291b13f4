"""Arguments and options that several commands share, and their parsers.

Touch: help texts, parsing, messages.
Do not touch: no command is imported here.
A new one: one file per kind of argument.
"""
