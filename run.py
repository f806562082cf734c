"""Run a swarm: `python run.py --help`."""

import sys

from swarmsim.cli import main

if __name__ == "__main__":
    sys.exit(main())
