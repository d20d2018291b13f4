"""Exports in every precision; for int8, weights and ranges from photos, and attempts of which the first good one is kept.

Safe to change: `exporting` (start reading here: `allmlp.export`, and what it shares with the command), `search` (which layers
    become int8, in which order), `weights` (how a matrix is rounded), `aware` (training).
Invariants: photos that set the ranges judge nothing; no file is written for a user if no attempt agrees with float32 as often
    as asked (`unjudged_int8` is for measurements of speed).
To add one: an attempt is an entry in `ATTEMPTS`.
"""

from allmlp.quantisation.exporting import WrittenExport, check_export_options, export, export_int8, write_export
from allmlp.quantisation.judging import Judged
from allmlp.quantisation.search import ATTEMPTS, DEFAULT_AGREEMENT, Attempt, Int8Export
from allmlp.quantisation.unjudged import unjudged_int8

__all__ = [
    "ATTEMPTS",
    "DEFAULT_AGREEMENT",
    "Attempt",
    "Int8Export",
    "Judged",
    "WrittenExport",
    "check_export_options",
    "export",
    "export_int8",
    "unjudged_int8",
    "write_export",
]
