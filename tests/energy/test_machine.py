"""CPU time of the machine, and the estimate: figures in, figures or nothing out."""

from __future__ import annotations

import pytest

from wattest.energy import estimate
from wattest.energy.machine import MachineCpu, machine_cpu


def test_the_cpu_time_of_the_machine_is_read_from_proc_stat(tmp_path):
    first = "cpu  100 10 50 800 20 5 5 10 30 0\ncpu0 1 1\ncpu1 1 1\nintr 5\n"
    (tmp_path / "stat").write_text(first)
    earlier = machine_cpu(tmp_path)
    (tmp_path / "stat").write_text(first.replace("100", "300").replace("800", "900"))
    later = machine_cpu(tmp_path)
    assert earlier is not None
    assert later is not None
    assert later.since(earlier) == MachineCpu(pytest.approx(2.0), pytest.approx(3.0))


@pytest.mark.parametrize("text", ["", "cpu  1 2\n", "cpu  a b c d e f g h\n", "nothing\n"])
def test_a_proc_stat_that_tells_nothing_is_unknown(tmp_path, text):
    (tmp_path / "stat").write_text(text)
    assert machine_cpu(tmp_path) is None
    assert machine_cpu(tmp_path / "missing") is None


def test_an_estimate_says_that_it_is_one_and_how_it_came_about():
    guess = estimate(100.0, 2, 150.0, 80.0)
    assert guess["is_estimate"] is True
    assert guess["machine_joules"] == pytest.approx(2 * 100 * 0.74 + 150 * 2.76)
    assert guess["training_joules"] == pytest.approx(80 * 2.76)
    assert (guess["idle_watts_per_cpu"], guess["full_watts_per_cpu"]) == (0.74, 3.5)
    assert str(guess["source"]).startswith("https://www.cloudcarbonfootprint.org")


def test_an_estimate_of_the_unknown_is_unknown():
    guess = estimate(100.0, 2, None, None)
    assert guess["machine_joules"] is None
    assert guess["training_joules"] is None
