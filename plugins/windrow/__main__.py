"""Run the command: ``python -m windrow status``."""

import sys

from windrow.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
