"""Whole experiments: real pytest, real processes, one record each."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from conftest import LOAD, ROOT, TOY, Project
from wattest.config.registry import load_registry
from wattest.config.schema import load_schema
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


def assert_valid(record: dict[str, Any]) -> None:
    Draft202012Validator(load_schema("result")).validate(record)


def test_a_parallel_experiment_leaves_a_whole_record(project: Project) -> None:
    project.settings(PARALLEL, runs_per_config=2, seed=3)
    result = project.run("--junitxml=report.xml")
    assert result.ret == 0, result.stdout.str()
    records = project.records()
    assert len(records) == 2
    for record in records:
        assert_valid(record)
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
        assert_valid(record)
        assert record["mode"] == mode
        assert record["repository"] == "toy"
        assert record["energy_metrics"]["attribution"] == "machine"
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
    assert_valid(record)
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
    assert_valid(record)
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


def test_selection_picks_exactly_the_foregrounds(project: Project) -> None:
    project.settings(PARALLEL, {**PARALLEL, "foreground": {**TOY, "model": "large"}}, TOY)
    by_mark = project.run_here("--collect-only", "-q", "-m", "experiment(model='small')")
    assert collected(by_mark) == ["toy-small-parallel-1", "toy-small-default-1"]
    by_load = project.run_here("--collect-only", "-q", "-m", "experiment(background='large')")
    assert collected(by_load) == ["toy-small-parallel-1", "toy-large-parallel-1"]
    by_mode = project.run_here("--collect-only", "-q", "-m", "parallel")
    assert collected(by_mode) == ["toy-small-parallel-1", "toy-large-parallel-1"]
    by_name = project.run_here("--collect-only", "-q", "-k", "toy-large", "-p", "no:xdist")
    assert collected(by_name) == ["toy-large-parallel-1"]


def collected(result: pytest.RunResult) -> list[str]:
    assert result.ret == 0, result.stderr.str()
    return [line.split("[")[1].rstrip("]") for line in result.outlines if "[" in line]


def test_collecting_works_from_elsewhere_and_names_resolve_against_the_root(
    project: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.settings(TOY)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    folder = str(project.path / "experiments")
    result = project.run_here(folder, "--config", "settings/test.json", "--collect-only", "-q")
    assert collected(result) == ["toy-small-default-1"]


def test_several_workers_are_refused_in_words(project: Project) -> None:
    project.settings(TOY)
    result = project.refusal("-n", "2")
    result.stderr.fnmatch_lines(["ERROR: 2 workers would measure on the same counters*"])


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("wattest_supervision=foo", "wattest_supervision: 'foo' is none of guard, cgroup"),
        ("wattest_allow_missing=disk", "wattest_allow_missing: 'disk' is none of cpu, gpu"),
        ("wattest_wait_for_counters=nan", "'nan' is no number of seconds"),
    ],
)
def test_an_ini_twin_is_checked_like_its_option(project: Project, setting: str, said: str) -> None:
    project.settings(TOY)
    result = project.refusal("-o", setting)
    result.stderr.fnmatch_lines([f"ERROR: *{said}*"])


def test_a_multiplier_of_workers_is_counted(project: Project) -> None:
    project.settings(TOY)
    result = project.refusal("-d", "--tx", "2*popen")
    result.stderr.fnmatch_lines(["ERROR: 2 workers would measure on the same counters*"])


def test_what_a_worker_refuses_is_said_and_ends_with_exit_4(project: Project) -> None:
    (project.path / "repos/toy/train.sh").unlink()
    project.settings(TOY)
    result = project.run("-n", "1")
    assert result.ret == 4, result.stdout.str()
    result.stdout.fnmatch_lines(["ERROR: *models.toy.train_script: no such file*"])
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert project.records() == []


def test_one_worker_resumes_and_says_so(project: Project) -> None:
    project.settings(TOY, seed=3)
    assert project.run("-n", "1").ret == 0
    again = project.run("-n", "1", "--resume")
    assert again.ret == 0, again.stdout.str()
    again.stdout.fnmatch_lines(["resume: 1 of 1 experiments found finished, 0 left"])
    assert len(project.records()) == 1


def test_one_worker_measures_and_its_summary_is_shown(project: Project) -> None:
    project.settings(TOY)
    result = project.run("-n", "1")
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(
        ["experiment and what was mutated *verdict", "toy-small-default-1 *valid*"]
    )


def test_the_terminal_says_what_runs_and_where_it_went(project: Project) -> None:
    project.settings(PARALLEL, seed=5)
    result = project.run()
    result.stdout.fnmatch_lines(
        [
            "wattest: settings/test.json, 1 experiment planned, seed 5 (from the settings)*",
            "sensors: *",
            "*load *busy/large, PID *",
            "*command *./train.sh -n small*",
            "*training *ended with exit code 0 after*",
            "*load *stopped in*nothing left*",
            "*energy *CPU *GPU *",
            "*record *results/*_toy_small_parallel.json",
        ]
    )


def test_require_energy_refuses_a_machine_without_counters(
    project: Project, tmp_path: Path
) -> None:
    project.settings(TOY)
    (tmp_path / "sys").mkdir()
    result = project.refusal("--require-energy", "--sysfs", str(tmp_path / "sys"))
    result.stderr.fnmatch_lines(["ERROR: --require-energy*"])


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


def test_an_interrupted_experiment_stands_in_junit_and_in_the_table(project: Project) -> None:
    stop = "import os, time; os.kill(int(open('pid').read()), 2); time.sleep(30)"
    project.program("toy", f"#!{sys.executable}\n{stop}\n")
    (project.path / "conftest.py").open("a").write(
        "\nimport os, pathlib\npathlib.Path('repos/toy/pid').write_text(str(os.getpid()))\n"
    )
    project.settings(TOY)
    result = project.run("--junitxml=report.xml")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["toy-small-default-1 *invalid*"])
    junit = (project.path / "report.xml").read_text()
    assert "interrupted before" in junit
    assert 'name="test_training[toy-small-default-1]"' in junit
