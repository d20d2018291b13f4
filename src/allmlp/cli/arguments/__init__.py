"""Arguments and options that several commands share, and what they are parsed into.

Touch: help texts, parsing, messages.
Do not touch: no command is imported here.
A new one: a file per kind of argument.
"""
