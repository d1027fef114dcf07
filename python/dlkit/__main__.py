"""``python -m dlkit``: the command ``dlkit``."""

from __future__ import annotations

import sys

from dlkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
