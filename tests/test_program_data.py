"""The bundled programs from inside: networks, data sets, retrieval."""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import os
import pickle
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the bundled programs need torch")
pytest.importorskip("sklearn", reason="the bundled programs need scikit-learn")
np = pytest.importorskip("numpy")

REPOS = Path(__file__).parents[1] / "repos"
RESNET = "pytorch_resnet_cifar10"
REID = "Person_reID_baseline_pytorch"
EXAMPLES = "examples"
Load = Callable[[str, str], ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Import a module of one program; the programs' modules share names, so forget them after."""
    names = {path.stem for path in REPOS.glob("*/*.py")}

    def load_module(repo: str, name: str) -> ModuleType:
        monkeypatch.syspath_prepend(str(REPOS / repo))
        return importlib.import_module(name)

    yield load_module
    for name in names:
        sys.modules.pop(name, None)


def parameters(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("model", "expected"),
    [("resnet20", 269_722), ("resnet32", 464_154), ("resnet44", 658_586), ("resnet56", 853_018)],
)
def test_cifar_resnets_have_the_parameters_of_the_paper(
    load: Load, model: str, expected: int
) -> None:
    resnet, options = load(RESNET, "resnet"), load(RESNET, "options")
    assert parameters(resnet.CifarResNet(options.BLOCKS_PER_STAGE[model])) == expected


def test_the_option_a_shortcut_subsamples_and_pads_with_zero_channels(load: Load) -> None:
    images = torch.randn(2, 16, 8, 8)
    shortcut = load(RESNET, "resnet").OptionAShortcut(16)
    result = shortcut(images)
    assert parameters(shortcut) == 0
    assert result.shape == (2, 32, 4, 4)
    assert torch.equal(result[:, 8:24], images[:, :, ::2, ::2])
    assert not result[:, :8].any()
    assert not result[:, 24:].any()


def test_a_cifar_resnet_maps_pictures_to_ten_scores(load: Load) -> None:
    assert load(RESNET, "resnet").CifarResNet(3)(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_densenet121_has_the_parameters_of_the_paper_in_its_feature_part(load: Load) -> None:
    densenet = load(REID, "densenet")
    features = densenet.densenet121_features()
    assert parameters(features) == 6_953_856
    assert features(torch.randn(2, 3, 64, 32)).shape == (2, 1024, 2, 1)
    model = densenet.IdentityNet(7, 0.5).eval()
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 7)
    assert model.dropout.p == 0.5


@pytest.mark.parametrize("epochs", [1, 2, 4, 200])
def test_the_step_schedule_divides_by_ten_at_half_and_three_quarters(
    load: Load, epochs: int
) -> None:
    steps = 40 * epochs
    factor = load(RESNET, "training").step_schedule(steps)
    factors = [factor(step) for step in range(steps)]
    assert max(factors) == 1.0
    assert factors[steps // 2 - 1] == 1.0
    assert factors[steps // 2] == 0.1
    assert factors[steps * 3 // 4 - 1] == 0.1
    assert factors[steps * 3 // 4] == factors[-1] == 0.01
    rising = factors[: steps // 2]
    assert rising == sorted(rising)
    assert rising[0] > 0


def test_one_batch_is_enough_for_the_schedules(load: Load) -> None:
    assert load(RESNET, "training").step_schedule(1)(0) > 0


# CIFAR-10


def cifar_fields(count: int, seed: int) -> dict[Any, Any]:
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (count, 3072), dtype=np.uint8)
    return {b"data": pixels, b"labels": [int(n) for n in generator.integers(0, 10, count)]}


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    names = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]
    for seed, name in enumerate(names):
        # protocol 2 is that of the published files
        (tmp_path / name).write_bytes(pickle.dumps(cifar_fields(8, seed), protocol=2))
    return tmp_path


def test_cifar_batches_are_read_channel_by_channel(load: Load, cifar: Path) -> None:
    images, labels = load(RESNET, "cifar").read_batch(cifar / "test_batch")
    fields = cifar_fields(8, 5)
    assert labels.tolist() == fields[b"labels"]
    assert images.dtype == torch.uint8
    # the first 1,024 values of a row are the red channel, row by row
    assert images[3, 0, 2].tolist() == fields[b"data"][3, 64:96].tolist()
    assert images[3, 2, 31].tolist() == fields[b"data"][3, -32:].tolist()


def test_a_tenth_of_the_cifar_training_images_is_held_out_and_never_trained_on(
    load: Load, cifar: Path
) -> None:
    data = load(RESNET, "cifar").load(cifar)
    assert (len(data.training), len(data.validation), len(data.test)) == (36, 4, 8)
    everything = torch.cat((data.training.source.images, data.validation.source.images))
    assert len(everything.unique(dim=0)) == 40
    assert data.augmentation.padding == 4
    assert data.augmentation.mirror


def test_cifar_is_found_in_the_folder_that_its_archive_makes(load: Load, cifar: Path) -> None:
    nested = cifar / "cifar-10-batches-py"
    nested.mkdir()
    for path in cifar.glob("*_batch*"):
        path.rename(nested / path.name)
    assert "CIFAR-10 from" in load(RESNET, "cifar").load(cifar).title


def test_a_cifar_folder_with_a_batch_missing_is_refused_by_name(load: Load, cifar: Path) -> None:
    (cifar / "data_batch_3").unlink()
    with pytest.raises(load(RESNET, "runtime").TrainingError, match="data_batch_3 missing"):
        load(RESNET, "cifar").load(cifar)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        pickle.dumps([1, 2]),
        pickle.dumps({b"data": 3, b"labels": [1]}),
        pickle.dumps({b"labels": [1]}),
        pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}),
        pickle.dumps({b"data": np.zeros((1, 3072), np.float32), b"labels": [1]}),
        pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]}),
        pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": ["cat"]}),
        pickle.dumps({b"data": np.zeros((0, 3072), np.uint8), b"labels": []}),
        pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [1]})[:-20],
    ],
)
def test_a_damaged_cifar_batch_is_refused_by_its_path(
    load: Load, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "test_batch"
    path.write_bytes(content)
    with pytest.raises(load(RESNET, "runtime").TrainingError, match="test_batch"):
        load(RESNET, "cifar").read_batch(path)


class Hostile:
    """Unpickles into a call of a function."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self._path),)


def test_a_cifar_pickle_cannot_run_code(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "test_batch"
    path.write_bytes(pickle.dumps({b"data": Hostile(tmp_path / "made"), b"labels": [1]}))
    with pytest.raises(load(RESNET, "runtime").TrainingError, match="mkdir"):
        load(RESNET, "cifar").read_batch(path)
    assert not (tmp_path / "made").exists()


# MNIST


def idx(array: Any) -> bytes:
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes((0, 0, 8, array.ndim)) + shape + array.tobytes()


def mnist_files() -> dict[str, bytes]:
    generator = np.random.default_rng(7)
    return {
        "train-images-idx3-ubyte": idx(generator.integers(0, 256, (12, 28, 28), dtype=np.uint8)),
        "train-labels-idx1-ubyte": idx(np.arange(12, dtype=np.uint8) % 10),
        "t10k-images-idx3-ubyte": idx(generator.integers(0, 256, (4, 28, 28), dtype=np.uint8)),
        "t10k-labels-idx1-ubyte": idx(np.array([3, 1, 4, 1], dtype=np.uint8)),
    }


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("folder", [".", "MNIST/raw"])
def test_mnist_idx_files_are_read(
    load: Load, tmp_path: Path, compressed: bool, folder: str
) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for name, content in mnist_files().items():
        path = tmp_path / folder / (f"{name}.gz" if compressed else name)
        path.write_bytes(gzip.compress(content) if compressed else content)
    data = load(EXAMPLES, "mnist").load(tmp_path)
    assert data.test.labels.tolist() == [3, 1, 4, 1]
    assert data.training.source.images.shape == (12, 1, 28, 28)
    assert data.test.source.images[2, 0, 5].tolist() == list(
        mnist_files()["t10k-images-idx3-ubyte"][16 + 2 * 784 + 140 :][:28]
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train-images-idx3-ubyte", b""),
        ("train-images-idx3-ubyte", b"\0\0\x08\x03\0\0"),
        ("train-images-idx3-ubyte", idx(np.zeros((12, 28, 28), np.uint8))[:-1]),
        ("train-images-idx3-ubyte", idx(np.zeros((12, 27, 28), np.uint8))),
        ("train-images-idx3-ubyte", idx(np.zeros((0, 28, 28), np.uint8))),
        ("train-labels-idx1-ubyte", b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0"),
        ("train-labels-idx1-ubyte", idx(np.zeros(11, np.uint8))),
        ("t10k-labels-idx1-ubyte", idx(np.full(4, 10, np.uint8))),
        ("t10k-images-idx3-ubyte.gz", b"not compressed"),
    ],
)
def test_a_damaged_mnist_file_is_refused(
    load: Load, tmp_path: Path, name: str, content: bytes
) -> None:
    for good_name, good in mnist_files().items():
        (tmp_path / good_name).write_bytes(good)
    (tmp_path / name.removesuffix(".gz")).unlink()
    (tmp_path / name).write_bytes(content)
    with pytest.raises(load(EXAMPLES, "runtime").TrainingError):
        load(EXAMPLES, "mnist").load(tmp_path)


# Market-1501

PILLOW_STAND_IN = '''
class Picture:
    """What the program uses of a Pillow image, for binary PPM files of any size."""

    def __init__(self, path):
        header, sizes, depth, self.pixels = open(path, "rb").read().split(b"\\n", 3)
        if header != b"P6":
            raise OSError("cannot identify image file")
        self.width, self.height = map(int, sizes.split())

    def __enter__(self):
        return self

    def __exit__(self, *fault):
        return None

    def convert(self, mode):
        assert mode == "RGB"
        return self

    def resize(self, size):
        width, height = size
        self.pixels = b"".join(
            self.pixels[start : start + 3]
            for row in range(height)
            for column in range(width)
            for start in [3 * (row * self.height // height * self.width
                               + column * self.width // width)]
        )
        return self

    def tobytes(self):
        return self.pixels


open_file, open = None, None


def open(path):
    return Picture(path)
'''


@pytest.fixture
def pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pillow where it is installed, else a stand-in that reads PPM; return its folder."""
    folder = tmp_path / "modules"
    (folder / "PIL").mkdir(parents=True)
    if importlib.util.find_spec("PIL") is None:
        (folder / "PIL" / "__init__.py").touch()
        stand_in = PILLOW_STAND_IN
        (folder / "PIL" / "Image.py").write_text(stand_in)
        monkeypatch.syspath_prepend(str(folder))
        importlib.invalidate_caches()
    return folder


def photograph(path: Path, red: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"P6\n2 4\n255\n" + bytes((red, 10, 200)) * 8)
