"""Which signals guard and supervisor ignore, and how a training is spared that."""

from __future__ import annotations

import signal

# Guard and supervisor end with their owner and with their tree, not by a signal that a terminal,
# a batch system or an operator sends to everything in sight.
_IGNORED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGALRM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
)


def shield() -> None:
    """Forget the signal mask and dispositions that were inherited, and ignore what would end us."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def unshield() -> None:
    """Undo `shield`, and the handler for children, before an exec; handlers go by themselves."""
    for number in (*_IGNORED, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
