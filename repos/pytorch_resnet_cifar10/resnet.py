"""The residual networks for CIFAR of He et al., "Deep Residual Learning for Image Recognition".

arXiv 1512.03385, section 4.2: 6n + 2 layers, 16, 32 and 64 channels, parameter-free shortcuts
(option A).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

STAGE_CHANNELS = (16, 32, 64)


class OptionAShortcut(nn.Module):
    """Takes every second pixel and appends zero channels: no parameters."""

    def __init__(self, added_channels: int) -> None:
        super().__init__()
        self._added = added_channels

    def forward(self, images: Tensor) -> Tensor:
        """Map [n, c, h, w] to [n, c + added, ceil(h/2), ceil(w/2)]."""
        before = self._added // 2
        return functional.pad(images[:, :, ::2, ::2], (0, 0, 0, 0, before, self._added - before))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; halves the picture where the channels grow."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        grows = channels_out > channels_in
        stride = 2 if grows else 1
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.shortcut = OptionAShortcut(channels_out - channels_in) if grows else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Map [n, channels_in, h, w] to [n, channels_out, h or h/2, w or w/2]."""
        hidden = functional.relu(self.norm1(self.conv1(images)))
        return functional.relu(self.norm2(self.conv2(hidden)) + self.shortcut(images))


class CifarResNet(nn.Module):
    """A residual network for pictures of 32x32x3.

    3 blocks per stage are ResNet-20, which has 269,722 parameters at 10 classes.
    """

    def __init__(self, blocks_per_stage: int, classes: int = 10) -> None:
        super().__init__()
        channels = STAGE_CHANNELS[0]
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
        )
        blocks: list[nn.Module] = []
        for wanted in STAGE_CHANNELS:
            for _ in range(blocks_per_stage):
                blocks.append(ResidualBlock(channels, wanted))
                channels = wanted
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, 3, 32, 32] to class scores [n, classes]."""
        scores: Tensor = self.classifier(self.blocks(self.stem(images)).mean(dim=(2, 3)))
        return scores
