"""The fake NVML is typed with the vendor's own header: sizes, places, numbers and signatures."""

from __future__ import annotations

from importlib import metadata

import pytest
from fakes.compiled import build


def test_the_fake_bears_the_types_of_the_vendors_header(tmp_path):
    try:
        package = metadata.distribution("nvidia-nvml-dev-cu12")
    except metadata.PackageNotFoundError:
        pytest.skip("the vendor's nvml.h is not installed: pip install nvidia-nvml-dev-cu12")
    include = package.locate_file("nvidia/nvml_dev/include")
    flags = ("-DNVML_HEADER", f"-I{include}", "-Wall", "-Werror")
    assert build("fake_nvml.c", tmp_path / "libnvidia-ml.so.1", *flags).exists()
