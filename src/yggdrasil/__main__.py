"""Runs the command line: ``python -m yggdrasil``."""

from yggdrasil.cli import main

if __name__ == "__main__":
    main()
