"""One hostile child: `python -I -S creature.py KIND TOKEN LEDGER`.

Every process of it holds TOKEN in its command line, whatever becomes of its environment, and has
written `PID start` to LEDGER before it does anything else. None lives longer than `_LIFE_SECONDS`.
"""

import ctypes
import os
import signal
import sys
import time

_LIFE_SECONDS = 60
_PR_SET_CHILD_SUBREAPER = 36
_SPAWNED = 2000
_BOMB_DEPTH = 7
_HOPS = 20000

KIND, TOKEN, LEDGER = sys.argv[1:4]


def enter_ledger() -> None:
    """Write this process down, and bound its life; fail where the ledger has been closed."""
    signal.alarm(_LIFE_SECONDS)
    descriptor = os.open("/proc/self/stat", os.O_RDONLY)
    stat = os.read(descriptor, 4096)
    os.close(descriptor)
    pid = stat.split(b" ", 1)[0].decode()
    started = stat.rpartition(b")")[2].split()[19].decode()
    ledger = os.open(LEDGER, os.O_WRONLY | os.O_APPEND)
    os.write(ledger, f"{pid} {started}\n".encode())
    os.close(ledger)


def fork() -> int:
    """Fork; the child is in the ledger before it returns."""
    pid = os.fork()
    if pid == 0:
        enter_ledger()
    return pid


def sleep() -> None:
    """Stay until killed, or until the bound."""
    end = time.monotonic() + _LIFE_SECONDS
    while time.monotonic() < end:
        time.sleep(1)
    os._exit(0)


def worker(behave=sleep) -> int:
    """Fork a child that behaves and never returns."""
    pid = fork()
    if pid == 0:
        try:
            behave()
        finally:
            os._exit(0)
    return pid


def ignore_signals() -> None:
    """Ignore whatever can be ignored."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)


def daemonise(behave=sleep) -> None:
    """Fork twice with a session in between; the grandchild behaves."""
    if fork() == 0:
        os.setsid()
        worker(behave)
        os._exit(0)
    os.wait()


def forget_environment() -> None:
    """Go on in a fresh program with an empty environment, in another folder."""
    os.chdir("/")
    argv = [sys.executable, "-I", "-S", __file__, "stubborn-alone", TOKEN, LEDGER]
    os.execve(sys.executable, argv, {})


def stubborn_sleep() -> None:
    """Stay, ignoring what can be ignored."""
    ignore_signals()
    sleep()


def polite() -> None:
    """End at SIGTERM, with two workers."""
    worker()
    worker()
    sleep()


def stubborn() -> None:
    """Ignore SIGTERM, with two workers that do so too."""
    ignore_signals()
    worker()
    worker()
    sleep()


def daemon() -> None:
    """Leave a daemon in a session of its own, and stay."""
    daemonise(stubborn_sleep)
    sleep()


def bare_daemon() -> None:
    """Leave a daemon that has forgotten its environment and its folder, and stay."""
    daemonise(forget_environment)
    sleep()


def leaver() -> None:
    """Leave daemons behind and end with 0."""
    daemonise(stubborn_sleep)
    daemonise(forget_environment)
    sys.exit(0)


def closed() -> None:
    """Close every descriptor, and ignore SIGTERM."""
    worker(stubborn_sleep)
    os.closerange(0, 1024)
    stubborn_sleep()


def stopped() -> None:
    """Stop, with a worker that is stopped too."""
    worker(lambda: (os.kill(os.getpid(), signal.SIGSTOP), sleep()))
    os.kill(os.getpid(), signal.SIGSTOP)
    sleep()


def spawner() -> None:
    """Spawn without end, ignoring SIGTERM."""
    ignore_signals()
    for _ in range(_SPAWNED):
        worker()
        time.sleep(0.005)
    sleep()


def bomb() -> None:
    """Fork in all generations at once, up to 2 ** _BOMB_DEPTH processes."""
    ignore_signals()
    for _ in range(_BOMB_DEPTH):
        fork()
    sleep()


def hopper(with_session: bool = False) -> None:
    """Stay in no process: fork, and let the parent end, again and again."""
    ignore_signals()
    if worker(lambda: _hop(with_session)):
        sleep()


def _hop(with_session: bool) -> None:
    end = time.monotonic() + _LIFE_SECONDS
    for _ in range(_HOPS):
        if time.monotonic() > end:
            return
        if fork():
            os._exit(0)
        if with_session:
            os.setsid()


def subreaper() -> None:
    """Adopt the orphans below, and have some."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    daemonise(stubborn_sleep)
    ignore_signals()
    sleep()


def loader() -> None:
    """Feed four workers through pipes, as a DataLoader does; end when they end."""
    ends = []
    for _ in range(4):
        read, write = os.pipe()
        ends.append(write)

        def work(read=read):
            while os.read(read, 1):
                sum(range(1000))
                time.sleep(0.005)

        worker(work)
        os.close(read)
    end = time.monotonic() + _LIFE_SECONDS
    while time.monotonic() < end:
        for write in ends:
            os.write(write, b"x")
        time.sleep(0.01)


def killer_of_parent() -> None:
    """Kill the supervisor, and stay."""
    worker(stubborn_sleep)
    os.kill(os.getppid(), signal.SIGKILL)
    stubborn_sleep()


def zoo() -> None:
    """Do all of it at once."""
    for kind in ("stubborn", "daemon", "bare-daemon", "closed", "stopped", "subreaper", "loader"):
        worker(KINDS[kind])
    sleep()


KINDS = {
    "polite": polite,
    "stubborn": stubborn,
    "stubborn-alone": stubborn_sleep,
    "daemon": daemon,
    "bare-daemon": bare_daemon,
    "leaver": leaver,
    "closed": closed,
    "stopped": stopped,
    "spawner": spawner,
    "bomb": bomb,
    "hopper": hopper,
    "session-hopper": lambda: hopper(with_session=True),
    "subreaper": subreaper,
    "loader": loader,
    "killer-of-parent": killer_of_parent,
    "fails": lambda: sys.exit(1),
    "zoo": zoo,
}

if __name__ == "__main__":
    enter_ledger()
    KINDS[KIND]()
