"""The networks, in torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class Lstm(nn.Module):
    """LSTM layers with dropout, dense layers with ReLU, three logits: the network of many a tutorial."""

    def __init__(
        self, features: int, lstm: Sequence[int], dense: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        sizes = [features, *lstm]
        self.lstm = nn.ModuleList(
            nn.LSTM(before, size, batch_first=True) for before, size in pairwise(sizes)
        )
        sizes = [lstm[-1], *dense, 3]
        self.dense = nn.ModuleList(nn.Linear(before, size) for before, size in pairwise(sizes))
        self.dropout = nn.Dropout(dropout)
        self.last_bias = f"dense.{len(self.dense) - 1}.bias"

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape ``(n, 3)``, of scaled windows, float32, shape ``(n, window, features)``."""
        for layer in self.lstm:
            x, _ = layer(x)
            x = self.dropout(x)
        x = x[:, -1]
        for number, layer in enumerate(self.dense):
            x = layer(torch.relu(x) if number else x)
        return x


class DeepLob(nn.Module):
    """Convolutions over levels and time, an inception block, an LSTM of 64.

    Zhang, Zohren and Roberts, "DeepLOB: Deep Convolutional Neural Networks for Limit Order Books", IEEE
    Transactions on Signal Processing 67(11), 2019, figures 3 and 4, with time padded as in the authors' code
    (https://github.com/zcakhaa/DeepLOB-Deep-Convolutional-Neural-Networks-for-Limit-Order-Books), so that a window may
    be of any length.
    """

    def __init__(self, features: int, dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *_block(1, 32, (1, 2), 2),  # price with size
            *_block(32, 32, (1, 2), 2),  # ask with bid
            *_block(32, 32, (1, features // 4), 1),  # all levels
        )
        self.short = nn.Sequential(*_convolution(32, 64, 1), *_convolution(64, 64, 3))
        self.long = nn.Sequential(*_convolution(32, 64, 1), *_convolution(64, 64, 5))
        self.pooled = nn.Sequential(nn.MaxPool2d((3, 1), 1, (1, 0)), *_convolution(32, 64, 1))
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(192, 64, batch_first=True)
        self.dense = nn.Linear(64, 3)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                # With torch's own the signal fades in so deep a stack, and for long nothing is learned (He et al. 2015).
                nn.init.kaiming_normal_(module.weight, 0.01)
                nn.init.zeros_(module.bias)
        self.last_bias = "dense.bias"

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape ``(n, 3)``, of scaled windows, float32, shape ``(n, window, features)``."""
        x = self.convolutions(x.unsqueeze(1))
        x = torch.cat([self.short(x), self.long(x), self.pooled(x)], 1)
        x, _ = self.lstm(self.dropout(x.squeeze(3).transpose(1, 2)))
        logits: Tensor = self.dense(x[:, -1])
        return logits


def _convolution(before: int, after: int, samples: int) -> list[nn.Module]:
    half = (samples - 1) // 2
    return [
        nn.ZeroPad2d((0, 0, half, samples - 1 - half)),
        nn.Conv2d(before, after, (samples, 1)),
        nn.LeakyReLU(0.01),
    ]


def _block(before: int, after: int, kernel: tuple[int, int], step: int) -> list[nn.Module]:
    return [
        nn.Conv2d(before, after, kernel, (1, step)),
        nn.LeakyReLU(0.01),
        *_convolution(after, after, 4),
        *_convolution(after, after, 4),
    ]


class Scaled(nn.Module):
    """A network with its scaling before and a softmax behind: what is saved as ONNX."""

    def __init__(self, network: nn.Module, offset: Tensor, factor: Tensor) -> None:
        super().__init__()
        self.network = network
        self.offset, self.factor = nn.Buffer(offset), nn.Buffer(factor)

    def forward(self, windows: Tensor) -> Tensor:
        """Return probabilities, float32, of windows as they are, float64."""
        scaled = (windows - self.offset) * self.factor
        return torch.softmax(self.network(scaled.to(torch.float32)), 1)
