"""``python -m shuffle``: the command ``shuffle``, where its script is not on the PATH."""

import sys

from shuffle.cli import main

if __name__ == "__main__":
    sys.exit(main())
