"""CPU time of the machine, and the estimate: figures in, figures or nothing out."""

from __future__ import annotations

import pytest

from wattest.energy import estimate
from wattest.energy.gates import stolen_time
from wattest.energy.machine import (
    Clocks,
    MachineCpu,
    architecture_without_rapl,
    in_container,
    machine_cpu,
)
from wattest.energy.types import NS


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


def test_stolen_time_is_told_apart(tmp_path):
    (tmp_path / "stat").write_text("cpu  100 10 50 800 20 5 5 10 30 0\n")
    before = machine_cpu(tmp_path)
    (tmp_path / "stat").write_text("cpu  100 10 50 860 20 5 5 110 30 0\n")
    after = machine_cpu(tmp_path)
    assert before is not None
    assert after is not None
    spent = after.since(before)
    assert spent.stolen_seconds == pytest.approx(1.0)
    reason = stolen_time(spent)
    assert reason is not None
    assert reason.text == "the hypervisor stole 62.5 % of the machine's CPU time"
    assert stolen_time(MachineCpu(1.0, 100.0, 5.0)) is None


def test_sleep_and_a_step_of_the_wall_clock_are_told_apart():
    began = Clocks(monotonic_ns=10 * NS, boot_ns=12 * NS, wall_ns=1000 * NS)
    slept = Clocks(monotonic_ns=20 * NS, boot_ns=52 * NS, wall_ns=1040 * NS)
    assert slept.slept_seconds(began) == pytest.approx(30)
    assert slept.stepped_seconds(began) == pytest.approx(0)
    stepped = Clocks(monotonic_ns=20 * NS, boot_ns=22 * NS, wall_ns=4610 * NS)
    assert stepped.slept_seconds(began) == pytest.approx(0)
    assert stepped.stepped_seconds(began) == pytest.approx(3600)
    assert began.utc(11 * NS) == "1970-01-01T00:16:41.000+00:00"


INTEL = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu hypervisor\n"
PI = "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
POWER = "processor\t: 0\ncpu\t\t: POWER9, altivec supported\n"
RISCV = "processor\t: 0\nhart\t\t: 1\nisa\t\t: rv64imafdc\n"


@pytest.mark.parametrize(
    ("cpuinfo", "machine", "architecture"),
    [
        (INTEL, "x86_64", None),
        (INTEL.replace("GenuineIntel", "AuthenticAMD"), "x86_64", None),
        ("", "x86_64", None),
        ("", "aarch64", "aarch64"),
        (PI, "aarch64", "aarch64"),
        (PI, "x86_64", "aarch64"),
        (POWER, "ppc64le", "ppc64le"),
        (POWER, "x86_64", "ppc"),
        (RISCV, "riscv64", "riscv64"),
        (INTEL.replace("GenuineIntel", "CentaurHauls"), "x86_64", "CentaurHauls"),
    ],
)
def test_a_processor_without_rapl_is_known_by_its_maker(
    cpuinfo, machine, architecture, monkeypatch
):
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert architecture_without_rapl(cpuinfo) == architecture


def test_a_container_is_known_by_what_it_leaves(tmp_path):
    (tmp_path / "proc").mkdir()
    assert not in_container(tmp_path / "proc")
    (tmp_path / ".dockerenv").touch()
    assert in_container(tmp_path / "proc")
