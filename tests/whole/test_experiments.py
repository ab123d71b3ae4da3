"""Whole experiments: real pytest, real processes, one record each."""

from __future__ import annotations

import json
import sys
from typing import Any

from conftest import LOAD, ROOT, TOY, Project
from wattest.config.registry import load_registry
from wattest.config.settings import load_settings
from wattest.plan.expand import expand

PARALLEL: dict[str, Any] = {
    "foreground": {"repo": "toy", "model": "small", "mutate": ["learning_rate"],
                   "hyperparameters": {"seconds": 0.5}},
    "background": LOAD,
}  # fmt: skip
ENERGY_KEYS = {
    "cpu_energy_pkg_joules", "cpu_energy_ram_joules", "cpu_energy_total_joules",
    "gpu_power_avg_watts", "gpu_power_max_watts", "gpu_power_min_watts",
    "gpu_energy_total_joules", "gpu_temp_avg_celsius", "gpu_temp_max_celsius",
    "gpu_util_avg_percent", "gpu_util_max_percent", "attribution", "note",
}  # fmt: skip


def with_hyperparameters(entry: dict[str, Any], **values: float) -> dict[str, Any]:
    return {**entry, "hyperparameters": {**entry["hyperparameters"], **values}}


def test_a_parallel_experiment_leaves_a_whole_record(project: Project) -> None:
    project.settings(PARALLEL, runs_per_config=2, seed=3)
    result = project.run("--junitxml=report.xml")
    assert result.ret == 0, result.stdout.str()
    records = project.records()
    assert len(records) == 2
    for record in records:
        assert record["experiment_id"].endswith(("_toy_small_parallel", "_parallel_2"))
        foreground, background = record["foreground_result"], record["background_info"]
        assert foreground["training_success"] is True
        assert foreground["error_message"] == "Training completed successfully"
        assert set(foreground["energy_metrics"]) == ENERGY_KEYS
        assert foreground["energy_metrics"]["attribution"] == "combined"
        assert foreground["performance_metrics"] == {"accuracy": 91.5}
        assert background["hyperparameters"] == {
            "learning_rate": 0.1, "epochs": 10, "seconds": 30.0,
        }  # fmt: skip
        assert background["window"]["alive_share"] > 0.9
        assert background["stop"]["survivors"] == []
        logs = project.path / "results" / f"background_logs_{record['experiment_id']}"
        assert "Epoch" in (logs / "run_1.log").read_text()
    rates = {record["foreground_result"]["hyperparameters"]["learning_rate"] for record in records}
    assert len(rates) == 2
    junit = (project.path / "report.xml").read_text()
    assert 'name="accuracy" value="91.5"' in junit
    assert 'name="verdict" value="valid"' in junit


def test_default_and_mutation_leave_flat_documents_without_a_background(project: Project) -> None:
    mutation = {**PARALLEL["foreground"], "runs_per_config": 1}
    project.settings(TOY, mutation)
    assert project.run_here().ret == 0
    for record, mode in zip(project.records(), ("default", "mutation"), strict=True):
        assert record["mode"] == mode
        assert record["repository"] == "toy"
        assert record["energy_metrics"]["attribution"] == "machine"
        assert type(record["cpu_use"]["background_seconds"]) is float
        assert not {"background_info", "foreground_result"} & set(record)
    assert not list((project.path / "results").glob("background_logs_*"))


def test_the_record_holds_exactly_what_the_program_got(project: Project) -> None:
    project.settings(with_hyperparameters(TOY, learning_rate=5.123456789e-06))
    assert project.run_here().ret == 0
    record = project.records()[0]
    log = (project.path / "results" / record["attempts"][0]["log"]).read_text()
    words = log.splitlines()[0].split("|")
    assert words[words.index("--lr") + 1] == "5.123456789e-06"
    assert record["hyperparameters"]["learning_rate"] == 5.123456789e-06


def test_a_training_without_a_metric_fails_at_once_and_names_the_pattern(project: Project) -> None:
    project.settings(with_hyperparameters(TOY, metric=0), max_retries=2)
    result = project.run_here()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*pattern of 'accuracy' did not match: Accuracy*"])
    record = project.records()[0]
    assert record["training_success"] is False
    assert record["performance_metrics"] == {"accuracy": None}
    assert record["retries"] == 0


def test_a_training_that_fails_after_its_metric_fails_too_and_keeps_every_attempt(
    project: Project,
) -> None:
    project.settings(with_hyperparameters(TOY, exit=1), max_retries=2)
    result = project.run_here()
    assert result.ret == 1
    record = project.records()[0]
    assert record["training_success"] is False
    assert "exit code 1" in record["error_message"]
    assert record["retries"] == 2
    logs = [attempt["log"] for attempt in record["attempts"]]
    assert len(set(logs)) == 3
    for attempt in record["attempts"]:
        assert attempt["performance_metrics"] == {"accuracy": 91.5}
        assert (project.path / "results" / attempt["log"]).read_text()
        assert (project.path / "results" / attempt["energy_folder"]).is_dir()


def test_a_program_that_recovers_counts_with_its_retries(project: Project) -> None:
    project.program(
        "toy",
        f"""\
        #!{sys.executable}
        from pathlib import Path
        tries = Path("tries")
        done = len(tries.read_text()) if tries.exists() else 0
        tries.write_text("x" * (done + 1))
        print("Accuracy: 50")
        raise SystemExit(0 if done else 3)
        """,
    )
    project.settings(TOY, max_retries=2)
    assert project.run_here().ret == 0
    record = project.records()[0]
    assert record["training_success"] is True
    assert record["retries"] == 1
    assert [attempt["exit_code"] for attempt in record["attempts"]] == [3, 0]


def test_a_load_that_dies_at_once_fails_the_experiment_with_its_last_lines(
    project: Project,
) -> None:
    project.load("#!/bin/sh\necho the load says goodbye\nexit 7\n")
    project.settings({**PARALLEL, "startup_seconds": 5})
    result = project.run()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*the load says goodbye*"])
    record = project.records()[0]
    assert record["foreground_result"]["training_success"] is False


def test_a_load_that_dies_midway_ends_the_experiment_within_seconds(project: Project) -> None:
    project.load(
        """\
        #!/bin/sh
        if [ -e again ]; then echo no more; exit 7; fi
        touch again
        sleep 1.5
        """,
    )
    foreground = {**PARALLEL["foreground"], "hyperparameters": {"seconds": 50}}
    project.settings({**PARALLEL, "foreground": foreground})
    result = project.run(timeout=40)
    assert result.ret == 1
    assert result.duration < 20
    assert "no more" in project.records()[0]["foreground_result"]["error_message"]


def test_an_ignored_hyperparameter_is_listed_and_not_recorded_as_applied(project: Project) -> None:
    project.settings(with_hyperparameters(TOY, dropout=0.5))
    assert project.run_here().ret == 0
    record = project.records()[0]
    assert record["ignored_hyperparameters"] == {"dropout": 0.5}
    assert "dropout" not in record["hyperparameters"]


def test_no_settings_file_of_this_project_has_a_fault() -> None:
    registry = load_registry(ROOT / "config/models_config.json", ROOT)
    files = sorted((ROOT / "settings").glob("*.json"))
    assert len(files) >= 6
    for file in files:
        assert expand(load_settings(file, registry), seed=1).experiments


def test_hostile_strings_reach_the_program_as_plain_arguments(project: Project) -> None:
    hostile = "$(touch owned); 'x' \"y\" ../.. | rm"
    project.describe("toy", models=["small", "large", hostile])
    project.settings({**TOY, "model": hostile})
    assert project.run_here().ret == 0
    record = project.records()[0]
    assert record["model"] == hostile
    log = (project.path / "results" / record["attempts"][0]["log"]).read_text()
    assert f"|-n|{hostile}|" in log
    assert not list(project.path.rglob("owned"))
    assert json.loads((project.path / "results" / f"{record['experiment_id']}.json").read_text())


def test_a_training_that_ends_at_once_closes_its_window_at_once(project: Project) -> None:
    project.program("toy", "#!/bin/sh\necho Accuracy: 1\n")
    project.settings(TOY, runs_per_config=6)
    assert project.run_here().ret == 0
    for record in project.records():
        window = record["energy_provenance"]["window"]
        late_seconds = (window["closed_ns"] - window["opened_ns"]) / 1e9
        assert late_seconds - record["duration_seconds"] < 0.5


def test_a_load_that_keeps_ending_at_once_is_no_load(project: Project) -> None:
    project.load("#!/bin/sh\nexit 0\n")
    foreground = {**PARALLEL["foreground"], "hyperparameters": {"seconds": 50}}
    project.settings({**PARALLEL, "foreground": foreground})
    result = project.run(timeout=50)
    assert result.ret == 1
    assert result.duration < 30
    message = project.records()[0]["foreground_result"]["error_message"]
    assert message.startswith("background load busy/large")
