"""Weights from elsewhere, copied into a network layer by layer."""

from collections.abc import Callable
from dataclasses import dataclass


def same_name(layer: str) -> str:
    """Where both networks use the same names for their layers."""
    return layer


@dataclass(frozen=True)
class KerasApplication:
    """ImageNet weights that `keras.applications` publishes for an architecture.

    Our networks take RGB, so where the published one was trained on BGR its first kernel is turned round in the copy.

    Attributes:
        application: function of `keras.applications`, such as "ResNet50".
        layer: name of our layer → name of the published network's. Layers that Keras numbers itself are counted from 1
            in the order in which they were made: `conv2d_1`, `conv2d_2`, ….
        scale, mean, std: what the weights want of 8-bit RGB pixels: (pixel * scale - mean) / std, per channel.
        bgr: whether the published network takes BGR.
    """

    application: str
    layer: Callable[[str], str] = same_name
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    bgr: bool = False
