"""`CUDA_VISIBLE_DEVICES` means here what it means to CUDA."""

from __future__ import annotations

import pytest

from wattest.energy.gpu.visible import visible_gpus

UUIDS = ["GPU-aaaa1111-00", "GPU-aaaa2222-00", "GPU-bbbb3333-00"]


@pytest.mark.parametrize(
    ("variable", "indices"),
    [
        (None, (0, 1, 2)),
        ("", ()),
        (" ", ()),
        ("-1", ()),
        ("0", (0,)),
        ("2,0", (2, 0)),
        (" 1 , 2 ", (1, 2)),
        ("+1", (1,)),
        ("1gpu,2nd", (1, 2)),
        ("0,9,1", (0,)),
        ("0,-1,1", (0,)),
        ("0,,1", (0,)),
        ("x,0", ()),
        pytest.param("9" * 5000, (), id="5000 digits"),
        ("\u0661", ()),
        ("NoDevFiles", ()),
        ("1,1", ()),
        ("0,1,0", ()),
        ("GPU-bbbb3333-00", (2,)),
        ("GPU-bbbb", (2,)),
        ("GPU-BBBB,GPU-aaaa1", (2, 0)),
        ("GPU-aaaa", ()),
        ("GPU-cccc,GPU-bbbb", ()),
        ("GPU-bbbb,0", (2,)),
        ("GPU-bbbb,GPU-bbbb3333", ()),
        ("0,GPU-bbbb", (0,)),
    ],
)
def test_the_visible_gpus_are_those_of_cuda(variable, indices):
    assert visible_gpus(variable, UUIDS).indices == indices


def test_a_list_that_ends_early_says_where():
    assert "ends at '9'" in visible_gpus("0,9,1", UUIDS).note
    assert "names a GPU twice" in visible_gpus("1,1", UUIDS).note
    assert visible_gpus("0,1", UUIDS).note == ""
    assert visible_gpus("", UUIDS).note == ""


@pytest.mark.parametrize("variable", ["MIG-1234", "MIG-GPU-aaaa/1/0"])
def test_a_mig_instance_is_told_from_a_gpu(variable):
    visible = visible_gpus(variable, UUIDS)
    assert visible.mig
    assert visible.indices == ()
