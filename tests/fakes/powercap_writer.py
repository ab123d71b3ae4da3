"""The process that keeps a fake powercap tree alive; started by `fakes.powercap.PowercapWriter`.

Reads one JSON document from its standard input, then advances every counter until it is told to
end. Each line of its log is one JSON object: `ready`, `started` (with the epoch), every event, and
`late` (from when until when, by CLOCK_MONOTONIC) where the machine let it wait.
It ends by itself when its standard input closes.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fakes.profile import Profile, as_points

_LATE_PERIODS = 5


class Zone:
    """One counter."""

    def __init__(self, given: dict) -> None:
        self.path = Path(given["path"])
        self.profile: Profile = as_points(given["points"])
        self.start = given["start_uj"]
        self.range = given["range_uj"]
        self.events = sorted(given["events"], key=lambda event: event["at"])
        self.joules_before = 0.0
        self.taken_off = 0.0
        self.frozen_at: float | None = None
        self.is_spoilt = False
        self.fd = -1

    def value(self, now: float) -> int:
        """Microjoules that the counter shows at `now` seconds."""
        at = now if self.frozen_at is None else self.frozen_at
        joules = self.joules_before + self.profile.joules(0.0, at) - self.taken_off
        return (self.start + round(joules * 1e6)) % (self.range + 1)

    def idle_joules(self, seconds: float) -> float:
        """What it uses in `seconds` before the profile begins."""
        return self.profile.joules(-seconds, 0.0)

    def write_idle(self, seconds: float) -> None:
        """Show the value `seconds` after the start, the profile not having begun."""
        joules = self.idle_joules(seconds)
        self.show((self.start + round(joules * 1e6)) % (self.range + 1))

    def act_until(self, now: float, log: Log) -> None:
        """Let everything happen that is due."""
        while self.events and self.events[0]["at"] <= now:
            event = self.events.pop(0)
            self.act(event, now)
            log.say(event["kind"], zone=str(self.path), at=now)

    def write(self, now: float) -> None:
        """Show the value, whole or not at all."""
        if not self.is_spoilt:
            self.show(self.value(now))

    def show(self, microjoules: int) -> None:
        """Write a value in place, as wide as any: a reader never sees half of it."""
        if self.fd < 0:
            self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(self.fd, b"%-19d\n" % microjoules, 0)

    def put(self, text: str) -> None:
        """Replace the file by one that holds `text`."""
        partial = self.path.with_name(".energy_uj")
        partial.write_text(text)
        partial.replace(self.path)
        self.let_go()

    def let_go(self) -> None:
        """Forget the file, which is about to be another one."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def act(self, event: dict, now: float) -> None:
        """Let an event happen."""
        kind = event["kind"]
        if kind == "freeze":
            self.write(now)
            self.frozen_at = now
        elif kind == "thaw":
            self.taken_off += self.profile.joules(self.frozen_at or now, now)
            self.frozen_at = None
        elif kind == "reset":
            self.start = 0
            self.taken_off = self.joules_before + self.profile.joules(0.0, now)
        elif kind == "jump":
            self.start += round(float(event["text"]) * 1e6)
        elif kind == "unlink":
            self.path.unlink()
            self.let_go()
            self.is_spoilt = True
        elif kind == "directory":
            self.path.unlink()
            self.path.mkdir()
            self.let_go()
            self.is_spoilt = True
        elif kind == "text":
            self.put(event["text"])
            self.is_spoilt = True
        elif kind == "deny":
            self.path.chmod(0)
            self.is_spoilt = True
        elif kind == "restore":
            if self.path.is_dir():
                self.path.rmdir()
            elif self.path.exists():
                self.path.unlink()
            self.let_go()
            self.is_spoilt = False
            self.write(now)


class Log:
    """What happened, one JSON object per line."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def say(self, what: str, **facts: object) -> None:
        """Write one line."""
        with self._path.open("a") as file:
            print(json.dumps({"what": what, **facts}), file=file)


class Writer:
    """All counters of a plan, advanced from step to step."""

    def __init__(self, plan: dict, now_ns: int) -> None:
        self._zones = [Zone(given) for given in plan["zones"]]
        self._trigger = Path(plan["trigger"]) if plan["trigger"] else None
        self._log = Log(plan["log"])
        self.period_ns = int(plan["period"] * 1e9)
        self._epoch_ns = self._written_ns = now_ns
        self._is_ready = False
        if self._trigger is None:
            self._log.say("started", epoch_ns=now_ns)

    def step(self, now_ns: int) -> None:
        """Let everything happen that is due at a monotonic time, and show every value."""
        if self._trigger is not None and self._trigger.exists():
            self._trigger = None
            for zone in self._zones:
                zone.joules_before = zone.idle_joules((now_ns - self._epoch_ns) / 1e9)
            self._epoch_ns = now_ns
            self._log.say("started", epoch_ns=now_ns)
        now = (now_ns - self._epoch_ns) / 1e9
        for zone in self._zones:
            if self._trigger is not None:
                zone.write_idle(now)
            else:
                zone.act_until(now, self._log)
                zone.write(now)
        if not self._is_ready:
            self._is_ready = True
            self._log.say("ready", pid=os.getpid())
        if now_ns - self._written_ns > _LATE_PERIODS * self.period_ns:
            self._log.say("late", since_ns=self._written_ns, until_ns=now_ns)
        self._written_ns = now_ns

    def close(self) -> None:
        """Let every file go."""
        for zone in self._zones:
            zone.let_go()


def main() -> None:
    """Advance the counters until standard input closes."""
    plan = json.loads(sys.stdin.readline())
    # A real counter waits for nobody; as far as we may, neither does this one.
    if plan["is_favoured"]:
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, -10)
    due_ns = time.monotonic_ns()
    writer = Writer(plan, due_ns)
    while not select.select([sys.stdin], [], [], max(0, due_ns - time.monotonic_ns()) / 1e9)[0]:
        now_ns = time.monotonic_ns()
        writer.step(now_ns)
        due_ns = max(due_ns + writer.period_ns, now_ns)


if __name__ == "__main__":
    main()
