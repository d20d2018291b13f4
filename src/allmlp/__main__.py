"""Entry point of `allmlp` and `python -m allmlp`."""

import signal
import sys

__all__ = ["run"]


def run() -> None:
    """Load the program and run it. Ctrl-C while it loads ends it without a traceback."""
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not ignored, as by nohup
    if is_default:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from allmlp.cli.main import main

    if is_default:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()
