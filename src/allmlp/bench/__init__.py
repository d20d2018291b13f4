"""Measured speed: every backend on this machine, next to other implementations of the same Mixer that are installed.

Safe to change: `contestants` and `peers` (what is measured), `plot`, `page`.
Invariants: contestants take turns in rounds of one run, and ratios are medians of ratios per round; what is left out is listed.
To add one: a peer is a function in `peers` and an entry in `PEERS`; a backend comes from `allmlp.inference.BACKENDS`.
"""

from allmlp.bench.contestants import random_checkpoint
from allmlp.bench.input_rates import InputRates, measure_input
from allmlp.bench.matrix_product import matrix_product_gflops
from allmlp.bench.page import table_lines, text_table, three_digits
from allmlp.bench.peers import PEERS
from allmlp.bench.plot import write_plot
from allmlp.bench.rounds import alternated_rounds, ratios_of
from allmlp.bench.run import BenchOptions, bench
from allmlp.bench.training_rates import measure_training
from allmlp.bench.tuning import tune

__all__ = [
    "PEERS",
    "BenchOptions",
    "InputRates",
    "alternated_rounds",
    "bench",
    "matrix_product_gflops",
    "measure_input",
    "measure_training",
    "random_checkpoint",
    "ratios_of",
    "table_lines",
    "text_table",
    "three_digits",
    "tune",
    "write_plot",
]
