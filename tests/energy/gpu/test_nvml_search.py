"""Which GPUs are found, what is said of those that are not, and what they tell of themselves."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import pytest
from gpuscenes import SECONDS, Outcome, played

from wattest.energy import visible_devices
from wattest.energy.gpu import nvml
from wattest.energy.gpu.search import find_gpus


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> Mapping[str, Outcome]:
    return played(tmp_path_factory.getbasetemp() / "nvml")


def test_a_gpu_in_mig_mode_is_refused_with_a_reason(outcomes):
    outcome = outcomes["MIG"]
    assert outcome.found["promised"] == []
    assert outcome.metrics["gpu_energy_total_joules"] is None
    assert "MIG is enabled" in outcome.domain["reason"]
    assert outcome.found["findings"][-1]["remedy"].startswith("sudo nvidia-smi -i ")


def test_beside_a_gpu_in_mig_mode_the_others_are_measured_but_not_added_up(outcomes):
    outcome = outcomes["one of two in MIG mode"]
    assert outcome.found["promised"] == []
    assert outcome.domain["status"] == "unavailable"
    assert outcome.metrics["gpu_energy_total_joules"] is None
    assert outcome.domain["gpus"][0]["joules"] == pytest.approx(outcome.truth(0), rel=0.03)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MIG instance", "not that of one of its MIG instances"),
        ("none visible", "no GPU is visible"),
        ("no driver", "the NVIDIA driver is not loaded"),
        ("no permission, accepted", "accepted by --allow-missing gpu"),
        ("named and lost, accepted", "accepted by --allow-missing gpu"),
    ],
)
def test_an_absence_is_stated_with_its_reason(outcomes, name, words):
    outcome = outcomes[name]
    assert outcome.domain["status"] == "unavailable"
    assert words in outcome.domain["reason"]
    assert words in outcome.found["describe"]
    assert all(value is None for value in outcome.metrics.values())
    assert outcome.found["faults"] == []


def test_a_gpu_that_may_not_be_read_stops_the_session_with_the_remedy(outcomes):
    found = outcomes["no permission"].found
    assert found["kind"] == "SensorPermissionError"
    assert "gpu 0: it does not answer: Insufficient Permissions" in found["error"]
    assert "sudo usermod -aG video $USER" in found["error"]
    assert "--allow-missing gpu" in found["error"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("named and lost", "gpu 1: it does not answer: GPU is lost"),
        ("named and forbidden", "gpu 1: it does not answer: Insufficient Permissions"),
        ("one of two named is lost", "gpu 1: it does not answer: GPU is lost"),
    ],
)
def test_a_gpu_that_is_named_and_does_not_answer_stops_the_session(outcomes, name, words):
    found = outcomes[name].found
    assert found["kind"] == "SensorPermissionError"
    assert words in found["error"]
    assert "--allow-missing gpu" in found["error"]


def test_beside_a_named_gpu_that_does_not_answer_the_others_are_not_added_up(outcomes):
    outcome = outcomes["one of two named is lost, accepted"]
    assert outcome.found["promised"] == []
    assert outcome.found["faults"] == []
    assert outcome.domain["status"] == "unavailable"
    assert "gpu 1: it does not answer" in outcome.domain["reason"]
    assert outcome.metrics["gpu_energy_total_joules"] is None
    assert outcome.domain["gpus"][0]["joules"] == pytest.approx(outcome.truth(0), rel=0.03)


def test_an_nvml_that_cannot_start_stops_the_session(outcomes):
    assert "NVML cannot start" in outcomes["unknown error"].found["error"]


def test_temperature_utilisation_and_power_are_summarised(outcomes):
    metrics = outcomes["counter at 100 ms"].metrics
    assert metrics["gpu_temp_avg_celsius"] == metrics["gpu_temp_max_celsius"] == 61
    assert metrics["gpu_util_avg_percent"] == metrics["gpu_util_max_percent"] == 87
    assert metrics["gpu_power_min_watts"] == pytest.approx(100, abs=1)
    assert metrics["gpu_power_max_watts"] == pytest.approx(300, abs=1)
    assert 180 < metrics["gpu_power_avg_watts"] < 220


def test_what_a_gpu_does_not_tell_is_null(outcomes):
    metrics = outcomes["no temperature"].metrics
    assert metrics["gpu_temp_avg_celsius"] is None
    assert metrics["gpu_temp_max_celsius"] is None
    assert metrics["gpu_util_avg_percent"] == 87


def test_the_hardware_is_described(outcomes):
    outcome = outcomes["counter at 100 ms"]
    hardware = outcome.found["hardware"]
    assert hardware["driver_version"] == "580.95.05"
    assert hardware["cuda_driver_version"] == "12.8"
    gpu = hardware["gpus"][0]
    assert gpu["uuid"] == outcome.gpus[0].uuid
    assert (gpu["vbios"], gpu["compute_mode"]) == ("00.00.FA.4E.00", "default")
    assert (gpu["power_limit_watts"], gpu["persistence_mode"], gpu["mig_mode"]) == (400, True, None)


def test_the_state_and_the_live_values_are_there(outcomes):
    outcome = outcomes["no counter and no fields"]
    state = outcome.found["state"][0]
    assert state["power_watts"] == pytest.approx(200, abs=0.01)
    assert state["temperature_celsius"] == 61
    assert state["memory_free_mb"] == pytest.approx(12 * 2**30 / 1e6)
    latest = outcome.found["latest"]
    assert latest["gpu_watts"] == pytest.approx(200, abs=0.01)
    assert latest["gpu_temperature_celsius"] == 61
    assert 800 < latest["gpu_joules"] < 1100


def test_the_processes_on_a_gpu_are_told_with_its_uuid(outcomes):
    outcome = outcomes["with processes"]
    uuid = outcome.gpus[0].uuid
    assert outcome.found["processes"] == {"4711": uuid, "4712": uuid}


def test_the_traces_have_actual_times_and_name_their_gpu(outcomes):
    folder = outcomes["two GPUs"].folder
    header, *rows = (folder / "gpu_power.csv").read_text().splitlines()
    assert header.startswith("timestamp,power_draw_w")
    assert header.endswith(",gpu")
    assert {row.split(",")[-1] for row in rows} == {gpu.uuid for gpu in outcomes["two GPUs"].gpus}
    stamps = [float(row.split(",")[0]) for row in rows]
    assert stamps == sorted(stamps)
    assert stamps[-1] - stamps[0] == pytest.approx(SECONDS, abs=0.3)
    assert (folder / "gpu_temperature.csv").read_text().startswith("timestamp,gpu_temp_c")
    assert (folder / "gpu_utilization.csv").read_text().startswith("timestamp,gpu_util_percent")
    assert len((folder / "gpu_energy.csv").read_text().splitlines()) > 15


def test_a_text_of_nvml_that_is_no_utf_8_is_written_out(outcomes):
    outcome = outcomes["names that are no UTF-8"]
    outcome.assert_true(0)
    assert outcome.domain["gpus"][0]["name"] == "RTX \\xf8A\u03b1"


def test_what_no_board_ever_tells_is_said_once_for_the_session(outcomes):
    outcome = outcomes["processes never told"]
    assert outcome.found["processes"] == {}
    assert "does not tell its processes: Not Supported" in outcome.found["note"]
    assert outcome.found["hardware"]["processes_not_known"] == outcome.found["note"]
    assert outcomes["with processes"].found["note"] == ""


@pytest.mark.parametrize("variable", [None, "0,1,2"])
def test_a_gpu_that_does_not_answer_is_nobodys_seat(monkeypatch, variable):
    class Library:
        """NVML with three GPUs; the second has fallen off the bus."""

        def open(self):
            """Start."""

        def close(self):
            """End."""

        def call(self, function, handle=None):
            if function == "DeviceGetCount":
                return 3
            if handle == 1:
                raise nvml.NvmlError(15, "GPU is lost")
            return f"GPU-{handle}" if function == "DeviceGetUUID" else handle

        def ask(self, function, *arguments):
            return None

    monkeypatch.setattr(nvml, "Nvml", Library)
    found = visible_devices({} if variable is None else {"CUDA_VISIBLE_DEVICES": variable})
    assert [one.uuid for one in found] == ["GPU-0", "GPU-2"]
    assert [one.entry for one in found] == (["0", "2"] if variable else ["GPU-0", "GPU-2"])


class Boards:
    """A module `pynvml` with one GPU for each UUID, all of which draw the same power."""

    milliwatts: object = 200_000

    def __init__(self, uuids: Sequence[str]) -> None:
        self.nvmlInit = self.nvmlShutdown = lambda: None
        self.nvmlDeviceGetCount = lambda: len(uuids)
        self.nvmlDeviceGetHandleByIndex = lambda index: index
        self.nvmlDeviceGetUUID = lambda handle: uuids[handle]
        self.nvmlDeviceGetMigMode = lambda handle: [0, 0]
        self.nvmlDeviceGetTotalEnergyConsumption = lambda handle: 5000
        self.nvmlDeviceGetFieldValues = lambda handle, fields: []
        self.nvmlDeviceGetPowerUsage = lambda handle: self.milliwatts


@pytest.mark.parametrize(
    ("uuids", "why"),
    [
        (["GPU-a", "GPU-a"], "gpu 1: bears the UUID of gpu 0"),
        (["GPU-a", ""], "gpu 1: has no UUID"),
    ],
)
def test_a_gpu_that_cannot_be_told_from_others_is_never_added_to_them(
    tmp_path, monkeypatch, uuids, why
):
    monkeypatch.setitem(sys.modules, "pynvml", Boards(uuids))
    found = find_gpus(tmp_path, {})
    assert [finding.status for finding in found.findings()] == ["rejected", "unreadable"]
    assert why in found.refusal


def test_a_text_of_nvml_never_steers_a_terminal(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", Boards(["GPU-\x1b[31m\n"]))
    assert [gpu.uuid for gpu in find_gpus(tmp_path, {}).gpus] == ["GPU-\\x1b[31m\\n"]


@pytest.mark.parametrize("milliwatts", [2**32 - 1, -1, float("nan"), None, "200000"])
def test_a_power_that_no_board_has_is_no_reading(tmp_path, monkeypatch, milliwatts):
    boards = Boards(["GPU-a"])
    monkeypatch.setitem(sys.modules, "pynvml", boards)
    (gpu,) = find_gpus(tmp_path, {}).gpus
    assert gpu.watts() == 200
    boards.milliwatts = milliwatts
    assert gpu.watts() is None
