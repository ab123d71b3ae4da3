"""What a window gave, put together."""

from __future__ import annotations

import pytest

from wattest.energy.measurement import Measurement
from wattest.energy.types import DomainResult


@pytest.mark.parametrize(
    ("package", "dram", "total"),
    [
        (("measured", 35.0), ("measured", 2.5), 37.5),
        (("measured", 35.0), ("unavailable", None), 35.0),
        (("measured", 35.0), ("invalid", None), None),
        (("invalid", None), ("measured", 2.5), None),
        (("unavailable", None), ("unavailable", None), None),
    ],
)
def test_the_total_of_the_cpu_is_known_only_if_its_parts_are(package, dram, total):
    results = (
        DomainResult("cpu_pkg", package[0], None, package[1]),
        DomainResult("cpu_ram", dram[0], None, dram[1]),
        DomainResult("gpu", "unavailable", None),
    )
    measurement = Measurement(0, 1, 1.0, results, (), (), {})
    assert measurement.energy_metrics()["cpu_energy_total_joules"] == total
