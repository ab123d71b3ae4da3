"""Interruptions that are put off come at the end of the block, and once."""

from __future__ import annotations

import signal

import pytest

from wattest.interrupts import OrderlySignals, interruptions_held


def test_held_interruptions_come_at_the_end_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[str] = []

    def hold(name: str, *numbers: signal.Signals) -> None:
        with interruptions_held(), interruptions_held():
            for number in numbers:
                signal.raise_signal(number)
            reached.append(name)

    signals = OrderlySignals()
    signals.install()
    try:
        with pytest.raises(KeyboardInterrupt, match=r"^SIGTERM received$"):
            hold("first", signal.SIGTERM, signal.SIGINT, signal.SIGINT)
        hold("second", signal.SIGINT)
        # What is stuck in such a block can still be broken off.
        monkeypatch.setattr("wattest.interrupts._STUCK_SECONDS", -1.0)
        with pytest.raises(KeyboardInterrupt, match=r"^SIGINT received again$"):
            hold("third", signal.SIGINT)
    finally:
        signals.restore()
    hold("not installed")
    assert reached == ["first", "second", "not installed"]
