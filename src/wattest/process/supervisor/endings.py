"""How a program ended, in words: the one place that knows what an exit code can mean."""

from __future__ import annotations

import errno
import signal

_HINTS = {
    "SIGBUS": "perhaps shared memory could not grow: is /dev/shm too small?",
    "SIGKILL": "by none of ours, most often by the kernel, out of memory: see dmesg | grep -i oom",
    "SIGSEGV": "a crash in native code",
}
_OUT_OF_MEMORY = "by none of ours; the kernel has killed for lack of memory here meanwhile"


def in_words(error: OSError) -> str:
    """Return what the kernel has said, with what to do where it makes no more processes."""
    if error.errno != errno.EAGAIN:
        return str(error)
    return f"{error} (no more processes: see `ulimit -u`, and what limits this container or job)"


def ending(exit_code: int) -> str:
    """Return how a program ended, as in "it …"; a negative code stands for a signal."""
    name = _signal_name(exit_code)
    if exit_code < 0:
        return f"was ended by signal {-exit_code}" + (f" ({name})" if name else "")
    told = f"ended with exit code {exit_code}"
    return f"{told} (128 + {exit_code - 128}: {name})" if name else told


def likely_cause(exit_code: int, oom_kills: int = 0) -> str:
    """Return why a program that nobody of ours has ended may have ended so; "" where unknown.

    `oom_kills` is how many processes the kernel has killed here meanwhile for lack of memory.
    """
    name = _signal_name(exit_code)
    return _OUT_OF_MEMORY if name == "SIGKILL" and oom_kills > 0 else _HINTS.get(name, "")


def how_it_ended(exit_code: int, after: str = "", oom_kills: int = 0) -> str:
    """Return the ending of a program that nobody of ours has ended, with its likely cause.

    `after` is put behind the fact, such as " after 3 s".
    """
    told, cause = ending(exit_code) + after, likely_cause(exit_code, oom_kills)
    return f"{told}: {cause}" if cause else told


def _signal_name(exit_code: int) -> str:
    """Return the signal in an exit code; a shell gives 128 + n where n has ended its child."""
    try:
        return signal.Signals(-exit_code if exit_code < 0 else exit_code - 128).name
    except ValueError:
        return ""
