"""``python -m wattest``: the command line, where its script is not on the PATH."""

from wattest.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
