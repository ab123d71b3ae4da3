"""The data sets that the bundled programs read."""

from __future__ import annotations

import gzip
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from programs import EXAMPLES, RESNET, cifar_fields, idx, mnist_files, modules, write_cifar

torch = pytest.importorskip("torch", reason="the bundled programs need torch")
pytest.importorskip("sklearn", reason="the bundled programs need scikit-learn")
np = pytest.importorskip("numpy", reason="the bundled programs need numpy")


def sizes(data: Any) -> dict[str, int]:
    return {name: len(part) for name, part in data.parts.items()}


def images_of(data: Any, part: str) -> Any:
    return data.parts[part].tensors[0]


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    write_cifar(tmp_path)
    return tmp_path


def test_cifar_batches_are_read_channel_by_channel(cifar: Path) -> None:
    images, labels = modules(RESNET).cifar.read_batch(cifar / "test_batch")
    fields = cifar_fields(5)
    assert labels.tolist() == fields[b"labels"]
    assert images.dtype == torch.uint8
    # the first 1,024 values of a row are the red channel, row by row
    assert images[3, 0, 2].tolist() == fields[b"data"][3, 64:96].tolist()
    assert images[3, 2, 31].tolist() == fields[b"data"][3, -32:].tolist()


def test_a_tenth_of_the_cifar_training_images_is_held_out_and_never_trained_on(cifar: Path) -> None:
    data = modules(RESNET).cifar.load(cifar)
    assert sizes(data) == {"training": 36, "validation": 4, "test": 8}
    everything = torch.cat((images_of(data, "training"), images_of(data, "validation")))
    assert len(everything.unique(dim=0)) == 40
    assert data.padding == 4


def test_cifar_is_found_in_the_folder_that_its_archive_makes(cifar: Path) -> None:
    nested = cifar / "cifar-10-batches-py"
    nested.mkdir()
    for path in cifar.glob("*_batch*"):
        path.rename(nested / path.name)
    assert "CIFAR-10 from" in modules(RESNET).cifar.load(cifar).title


def test_a_cifar_folder_with_a_batch_missing_is_refused_by_name(cifar: Path) -> None:
    (cifar / "data_batch_3").unlink()
    with pytest.raises(modules(RESNET).program.TrainingError, match="data_batch_3 missing"):
        modules(RESNET).cifar.load(cifar)


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
def test_a_damaged_cifar_batch_is_refused_by_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "test_batch"
    path.write_bytes(content)
    with pytest.raises(modules(RESNET).program.TrainingError, match="test_batch"):
        modules(RESNET).cifar.read_batch(path)


class Hostile:
    """Unpickles into a call of a function."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self._path),)


def test_a_cifar_pickle_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "test_batch"
    path.write_bytes(pickle.dumps({b"data": Hostile(tmp_path / "made"), b"labels": [1]}))
    with pytest.raises(modules(RESNET).program.TrainingError, match="mkdir"):
        modules(RESNET).cifar.read_batch(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("folder", [".", "MNIST/raw"])
def test_mnist_idx_files_are_read(tmp_path: Path, compressed: bool, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for name, content in mnist_files().items():
        path = tmp_path / folder / (f"{name}.gz" if compressed else name)
        path.write_bytes(gzip.compress(content) if compressed else content)
    data = modules(EXAMPLES).mnist.load(tmp_path)
    assert data.parts["test"].tensors[1].tolist() == [3, 1, 4, 1]
    assert images_of(data, "training").shape == (12, 1, 28, 28)
    assert images_of(data, "test")[2, 0, 5].tolist() == list(
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
def test_a_damaged_mnist_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    for good_name, good in mnist_files().items():
        (tmp_path / good_name).write_bytes(good)
    (tmp_path / name.removesuffix(".gz")).unlink()
    (tmp_path / name).write_bytes(content)
    with pytest.raises(modules(EXAMPLES).program.TrainingError):
        modules(EXAMPLES).mnist.load(tmp_path)


def test_the_digits_are_split_alike_for_every_seed_and_no_image_twice() -> None:
    splits = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        splits.append(modules(RESNET).images.digits("data", 32, 3, test=36, validation=18))
    first, second = splits
    assert torch.equal(images_of(first, "test"), images_of(second, "test"))
    assert sizes(first) == {"test": 36 * 10, "validation": 18 * 10, "training": 1257}
    assert first.parts["test"].tensors[1].bincount().tolist() == [36] * 10
    labels = torch.cat([part.tensors[1] for part in first.parts.values()])
    assert labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_digits_keep_their_brightness_when_resized() -> None:
    images = images_of(modules(RESNET).images.digits("data", 32, 3), "training")
    assert images.shape == (1797, 3, 32, 32)
    assert images.dtype == torch.uint8
    assert (int(images.min()), int(images.max())) == (0, 255)


def test_crops_shift_and_mirroring_mirrors() -> None:
    images = torch.arange(2 * 3 * 32 * 32).remainder(251).to(torch.uint8).reshape(2, 3, 32, 32)
    first, second = modules(RESNET).images.augmented(
        images, 4, torch.tensor([[4, 4], [8, 3]]), torch.tensor([True, False])
    )
    assert torch.equal(first, images[0].flip(2))
    assert torch.equal(second[:, :28, 1:], images[1][:, 4:, :31])
    assert not second[:, 28:].any()
    assert not second[:, :, 0].any()


def shuffled(count: int, batch_size: int, *, padding: int = 0, workers: int = 0) -> Any:
    """Batches of images each of which is all of its own brightness."""
    images = modules(RESNET).images
    pictures = torch.arange(count).to(torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    part = torch.utils.data.TensorDataset(pictures, torch.arange(count))
    data = images.Data("any", {"training": part}, None, padding=padding)
    return images.ShuffledBatches(data, batch_size, workers)


@pytest.mark.parametrize(
    ("count", "batch_size", "expected"), [(10, 4, [4, 4, 2]), (9, 4, [4, 4]), (3, 8, [3])]
)
def test_an_epoch_shows_each_image_once_but_never_a_batch_of_one(
    count: int, batch_size: int, expected: list[int]
) -> None:
    batches = shuffled(count, batch_size)
    shown = [labels for _, labels in batches]
    assert [len(labels) for labels in shown] == expected
    assert len(batches) == len(expected)
    assert len(torch.cat(shown).unique()) == sum(expected)


def test_workers_change_neither_the_batches_nor_what_a_network_draws_between_them() -> None:
    def two_epochs(workers: int) -> Any:
        torch.manual_seed(3)
        batches = shuffled(10, 4, padding=2, workers=workers)
        drawn = [(*batch, torch.rand(1)) for _ in range(2) for batch in batches]
        return torch.cat([part.flatten().float() for batch in drawn for part in batch])

    assert torch.equal(two_epochs(0), two_epochs(2))


def test_one_image_is_too_few_to_train_on() -> None:
    with pytest.raises(modules(RESNET).program.TrainingError, match="too few"):
        shuffled(1, 4)
