"""Entry point: `python -I -S .../supervisor/__main__.py DESCRIPTOR`, read by `guard.main`."""

import sys
from importlib import import_module

if __name__ == "__main__":
    # Appended, so that nothing beside this package can shadow the standard library.
    sys.path.append(__file__.rpartition("/supervisor/")[0])
    import_module("supervisor.guard").main(int(sys.argv[1]))
