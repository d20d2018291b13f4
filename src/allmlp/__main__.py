"""Entry point of `python -m allmlp`."""

from allmlp.cli.main import main

if __name__ == "__main__":
    main()
