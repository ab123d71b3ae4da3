"""What contradicts itself in the definition of a hyper-parameter."""

from __future__ import annotations

import pytest
from drawing import floats, ints

from wattest.config.program import Hyperparameter


@pytest.mark.parametrize(
    ("parameter", "key", "fault"),
    [
        (ints(5, 2), "range", "[5, 2] is upside down; write [2, 5]"),
        (ints(1.5, 4), "range", "1.5 is not an int"),
        (ints(1, 4, default=2.5), "default", "2.5 is not an int"),
        (ints(1, 4, levels=(1, 2.5)), "levels", "2.5 is not an int"),
        (ints(1, 4, levels=(2, 5)), "levels", "5 is outside the range [1, 4]"),
        (ints(1, 4, levels=(2, 0)), "levels", "0 is outside"),
        (ints(-int(1e308), int(1e308)), "range", "[-1e+308, 1e+308] is too wide to draw from"),
        (floats(0, 1, "log_uniform"), "range", "a log_uniform range must be above 0"),
        (floats(-1, 1, "log_uniform"), "range", "a log_uniform range must be above 0"),
    ],
)
def test_a_contradiction_is_named_with_its_key(
    parameter: Hyperparameter, key: str, fault: str
) -> None:
    ((found, text),) = parameter.faults()
    assert found == key
    assert text.startswith(fault)


@pytest.mark.parametrize(
    "parameter",
    [
        ints(1, 4, default=4.0),
        ints(1, 4, zero_probability=0.5, levels=(0, 2)),
        ints(1, int(1.7e308), "log_uniform"),
        ints(1, 4, default=9, levels=(2, 9)),
        floats(1e-5, 1e-2, "log_uniform", default=0.0, zero_probability=0.3),
    ],
)
def test_what_is_merely_unusual_is_no_fault(parameter: Hyperparameter) -> None:
    assert parameter.faults() == []
