"""The networks of the bundled programs, their schedules, and the retrieval of persons."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import REID, RESNET, modules

torch = pytest.importorskip("torch", reason="the bundled programs need torch")
pytest.importorskip("sklearn", reason="the bundled programs need scikit-learn")


def parameters(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("model", "expected"),
    [("resnet20", 269_722), ("resnet32", 464_154), ("resnet44", 658_586), ("resnet56", 853_018)],
)
def test_cifar_resnets_have_the_parameters_of_the_paper(model: str, expected: int) -> None:
    program = modules(RESNET)
    network = program.resnet.CifarResNet(program.train.BLOCKS_PER_STAGE[model])
    assert parameters(network) == expected
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_the_option_a_shortcut_subsamples_and_pads_with_zero_channels() -> None:
    images = torch.randn(2, 16, 8, 8)
    shortcut = modules(RESNET).resnet.OptionAShortcut(16)
    result = shortcut(images)
    assert parameters(shortcut) == 0
    assert result.shape == (2, 32, 4, 4)
    assert torch.equal(result[:, 8:24], images[:, :, ::2, ::2])
    assert not result[:, :8].any()
    assert not result[:, 24:].any()


def test_densenet121_has_the_parameters_of_the_paper_in_its_feature_part() -> None:
    densenet = modules(REID).densenet
    features = densenet.densenet121_features()
    assert parameters(features) == 6_953_856
    assert features(torch.randn(2, 3, 64, 32)).shape == (2, 1024, 2, 1)


def test_the_identity_head_scores_identities_and_drops_out_only_in_training() -> None:
    model = modules(REID).densenet.IdentityNet(7, 0.5)
    images = torch.randn(4, 3, 32, 32)
    embedded = torch.randn(4, 512)
    assert model(images).shape == (4, 7)
    assert model.embed(images).shape == (4, 512)
    assert not torch.equal(model.dropout(embedded), embedded)
    model.eval()
    assert torch.equal(model.dropout(embedded), embedded)


@pytest.mark.parametrize("epochs", [1, 2, 4, 200])
def test_the_step_schedule_divides_by_ten_at_half_and_three_quarters(epochs: int) -> None:
    steps = 40 * epochs
    program = modules(RESNET)
    factor = program.fitting.step_schedule(steps, program.train.DROPS)
    factors = [factor(step) for step in range(steps)]
    assert max(factors) == 1.0
    assert factors[steps // 2 - 1] == 1.0
    assert factors[steps // 2] == factors[steps * 3 // 4 - 1] == 0.1
    assert factors[steps * 3 // 4] == factors[-1] == 0.01
    rising = factors[: steps // 2]
    assert rising == sorted(rising)
    assert rising[0] > 0


def oracle(query: list[tuple[Any, int, int]], gallery: list[tuple[Any, int, int]]) -> list[float]:
    """Rank@1, Rank@5 and mAP, written out from the protocol's text."""
    ranks, areas = [], []
    for feature, identity, camera in query:
        scored = [
            (sum(a * b for a, b in zip(feature, other, strict=True)), other_identity == identity)
            for other, other_identity, other_camera in gallery
            if other_identity != -1 and (other_identity, other_camera) != (identity, camera)
        ]
        scored.sort(key=lambda pair: -pair[0])
        hits = [is_match for _, is_match in scored]
        if not any(hits):
            continue
        ranks.append(hits.index(True))
        recall, precision, area, found = 0.0, 1.0, 0.0, 0
        for position, is_match in enumerate(hits, start=1):
            found += is_match
            new_recall, new_precision = found / sum(hits), found / position
            area += (new_recall - recall) * (precision + new_precision) / 2
            recall, precision = new_recall, new_precision
        areas.append(area)
    count = len(ranks)
    return [
        sum(r < 1 for r in ranks) / count,
        sum(r < 5 for r in ranks) / count,
        sum(areas) / count,
    ]


def photographs(generator: random.Random, count: int, least: int) -> list[tuple[Any, int, int]]:
    made = []
    for _ in range(count):
        vector = torch.tensor([generator.gauss(0, 1) for _ in range(3)])
        feature = (vector / vector.norm()).tolist()
        made.append((feature, generator.randint(least, 5), generator.randint(1, 3)))
    return made


def embedded(pictures: list[tuple[Any, int, int]]) -> Any:
    features, identities, cameras = zip(*pictures, strict=True)
    return modules(REID).retrieval.Embedded(
        torch.tensor(features), torch.tensor(identities), torch.tensor(cameras)
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_ranking_follows_the_protocol(seed: int) -> None:
    generator = random.Random(seed)
    query, gallery = photographs(generator, 12, 1), photographs(generator, 40, -1)
    ranking = modules(REID).retrieval.rank(embedded(query), embedded(gallery))
    assert [ranking.rank1, ranking.rank5, ranking.mean_average_precision] == pytest.approx(
        oracle(query, gallery), abs=1e-6
    )


def test_junk_and_the_same_camera_are_taken_out_but_distractors_stay() -> None:
    right, near, far = [1.0, 0.0], [0.8, 0.6], [0.0, 1.0]
    query = embedded([(right, 1, 1)])
    gallery = [(right, -1, 2), (right, 1, 1), (near, 0, 2), (far, 1, 2)]
    rank = modules(REID).retrieval.rank
    assert rank(query, embedded(gallery)).rank1 == 0
    without_distractor = [*gallery[:2], gallery[3]]
    ranking = rank(query, embedded(without_distractor))
    assert (ranking.rank1, ranking.mean_average_precision) == (1, 1)


def test_queries_without_a_match_are_left_out_and_counted() -> None:
    program = modules(REID)
    query = embedded([([1.0, 0.0], 1, 1), ([1.0, 0.0], 9, 1)])
    ranking = program.retrieval.rank(query, embedded([([1.0, 0.0], 1, 2)]))
    assert (ranking.queries, ranking.rank1) == (1, 1)
    with pytest.raises(program.program.TrainingError, match="no query has a match"):
        program.retrieval.rank(query, embedded([([1.0, 0.0], 3, 2)]))


def test_embeddings_that_are_not_finite_are_a_failure_not_a_rank() -> None:
    program = modules(REID)
    gallery = embedded([([1.0, 0.0], 1, 2)])
    with pytest.raises(program.program.TrainingError, match="not finite"):
        program.retrieval.rank(embedded([([float("nan"), 0.0], 1, 1)]), gallery)


PILLOW_STAND_IN = '''
from pathlib import Path


class Picture:
    """What the program uses of a Pillow image, for binary PPM files of one colour."""

    def __init__(self, path):
        header, sizes, depth, pixels = Path(path).read_bytes().split(b"\\n", 3)
        if header != b"P6":
            raise OSError("cannot identify image file")
        self.colour, self.count = pixels[:3], None

    def __enter__(self):
        return self

    def __exit__(self, *fault):
        return None

    def convert(self, mode):
        return self

    def resize(self, size):
        self.count = size[0] * size[1]
        return self

    def tobytes(self):
        return self.colour * self.count


open = Picture
'''


@pytest.fixture
def market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data set of one-coloured pictures, for Pillow or, where that is missing, a stand-in."""
    stands_in = importlib.util.find_spec("PIL") is None
    if stands_in:
        (tmp_path / "modules" / "PIL").mkdir(parents=True)
        (tmp_path / "modules" / "PIL" / "__init__.py").touch()
        (tmp_path / "modules" / "PIL" / "Image.py").write_text(PILLOW_STAND_IN)
        monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    names = {
        "bounding_box_train": ["0002_c1s1_000451_03", "0002_c2s1_000451_03", "0007_c1s1_1_01"],
        "query": ["0003_c1s1_000001_00"],
        "bounding_box_test": ["0003_c5s2_000001_01", "-1_c1s1_000001_01", "0000_c2s1_000001_01"],
    }
    for folder, stems in names.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "Thumbs.db").touch()
        for red, stem in enumerate(stems):
            content = b"P6\n2 4\n255\n" + bytes((red, 10, 200)) * 8
            (tmp_path / folder / f"{stem}.jpg").write_bytes(content)
    yield tmp_path
    if stands_in:
        for name in ("PIL", "PIL.Image"):
            sys.modules.pop(name, None)


def test_market_folders_are_read_with_identities_and_cameras(market: Path) -> None:
    data = modules(REID).market.load(market)
    training, gallery = data.parts["training"], data.parts["gallery"]
    assert data.classes == 2
    assert training.identities.tolist() == [0, 0, 1]
    assert gallery.identities.tolist() == [-1, 0, 3]
    assert gallery.cameras.tolist() == [1, 2, 5]
    images, identities, cameras = training[torch.tensor([2, 0])]
    assert (identities.tolist(), cameras.tolist()) == ([1, 0], [1, 1])
    assert images.shape == (2, 3, 256, 128)
    assert images[0, :, 100, 60].tolist() == [2, 10, 200]


def test_a_damaged_or_misnamed_picture_is_named(market: Path) -> None:
    program = modules(REID)
    picture = market / "query" / "0003_c1s1_000001_00.jpg"
    picture.write_bytes(b"no\npicture\nat\nall")
    query = program.market.load(market).parts["query"]
    with pytest.raises(program.program.TrainingError, match="0003_c1s1"):
        query[torch.tensor([0])]
    picture.rename(picture.with_name("holiday.jpg"))
    with pytest.raises(program.program.TrainingError, match=r"holiday\.jpg"):
        program.market.load(market)


def test_market_without_pillow_or_without_a_folder_is_refused(
    market: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = modules(REID)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(program.program.TrainingError, match="pip install pillow"):
        program.market.load(market)
    (market / "query").rename(market / "queries")
    with pytest.raises(program.program.TrainingError, match="query missing"):
        program.market.load(market)
