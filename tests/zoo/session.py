"""A session in miniature: starts a tree or a loop, says so, and waits to be ended.

The first line on standard input holds the options in JSON: `argv`, `folder`, `kind` (tree or
loop), `rung`, `owners` (PIDs), `from_thread` (start in a thread that ends). Each further line says
what to do. (Not on the command line: the oracle would take the session for a creature.)
"""

import ctypes
import json
import os
import signal
import sys
import threading
from pathlib import Path

from wattest.process import Command, Loop, Rung, Tree


def start(options: dict) -> "Tree | Loop":
    """Start what the options say."""
    folder = Path(options["folder"])
    command = Command(tuple(options["argv"]), folder, dict(os.environ))
    settings = {"rung": Rung(options["rung"]), "owners": options.get("owners", [])}
    if options["kind"] == "loop":
        return Loop(command, folder / "logs", **settings)
    return Tree(command, folder / "training.log", **settings)


def say(**fields: object) -> None:
    """Write one line of JSON."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run the session."""
    options = json.loads(sys.stdin.readline())
    supervision = start(options)
    say(guard=supervision.guard_pid, supervisor=supervision.supervisor_pid)
    if options.get("from_thread"):
        thread = threading.Thread(target=supervision.start)
        thread.start()
        thread.join()
    else:
        supervision.start()
    say(started=True)
    for line in sys.stdin:
        how = json.loads(line)
        if how["do"] == "stop":
            report = supervision.stop(how["grace_seconds"])
            say(seconds=report.duration_seconds, survivors=len(report.survivors))
        elif how["do"] == "return":
            break
        elif how["do"] == "raise":
            raise KeyboardInterrupt
        elif how["do"] == "exit":
            os._exit(3)
        elif how["do"] == "segfault":
            signal.signal(signal.SIGSEGV, signal.SIG_DFL)
            ctypes.string_at(0)


if __name__ == "__main__":
    main()
