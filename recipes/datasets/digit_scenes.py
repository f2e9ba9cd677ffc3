"""Scenes of handwritten digits, with their boxes and masks: to detect and to segment without a network.

>>> tfds.load("digit_scenes", split="train")
>>> tfds.load("digit_scenes/crowded", split="train")
>>> tfds.load("digit_scenes/size=96,digits=3", split="train")
>>> tfds.load("digit_scenes/clear/scale=20-40", split="train")
"""

import dataclasses
import io
import math
import re

import numpy as np
import tensorflow_datasets as tfds

from recipes.datasets import digits, photographs, scenes
from zoo.nearest import choose

TEST_SHARE = 6
"""There is a test scene to so many training scenes."""

ARGUMENTS = ("size", "digits", "scale", "clutter", "overlap", "count")
_INTEGERS = {"size": (32, 1024), "digits": (1, 100), "count": (1, 1_000_000)}
_SHARES = {"clutter": (0, 1), "overlap": (0, 0.5)}


def _written(value) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _checked(name: str, value):
    """The value of an argument, of its own type.

    Raises:
        ValueError: another type, or out of its range.
    """
    if name == "scale":
        return _checked_scale(value)
    is_integer = name in _INTEGERS
    low, high = (_INTEGERS if is_integer else _SHARES)[name]
    number = (int, np.integer) if is_integer else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, number) or not low <= value <= high:
        kind = "a whole number" if is_integer else "a number"
        raise ValueError(f"{name} must be {kind}. Received: {value!r}. Accepted: {low} to {high}.")
    return int(value) if is_integer else float(value)


def _checked_scale(value) -> tuple[int, int]:
    written = re.fullmatch(r"(\d+)-(\d+)", value) if isinstance(value, str) else None
    pair = [int(number) for number in written.groups()] if written else value
    is_pair = isinstance(pair, (tuple, list)) and len(pair) == 2
    if not is_pair or not all(isinstance(n, (int, np.integer)) for n in pair) or not 8 <= pair[0] <= pair[1]:
        raise ValueError(
            "scale must be the heights of the smallest and the largest digit. "
            f"Received: {value!r}. Accepted: whole numbers from 8 on, such as (16, 48) or '16-48'."
        )
    return int(pair[0]), int(pair[1])


@dataclasses.dataclass(kw_only=True)
class DigitScenesConfig(tfds.core.BuilderConfig):
    """How scenes are made.

    Attributes:
        size: height and width of a scene in pixels, 32 to 1024.
        digits: the most digits in a scene, 1 to 100. There are 1 to so many, as far as they find a place.
        scale: heights of the smallest and the largest digit in pixels, before it is turned: from 8 to two thirds of
            the scene. From 16 on, all can be read.
        clutter: 0..1, how much there is that is no digit.
        overlap: 0..0.5, the largest share of the smaller of two boxes that the other may cover, and of a digit's ink
            that others may hide.
        count: training scenes, at least 1; to six of them there is one test scene. The first scenes of a larger count
            are those of a smaller one.

    Raises:
        ValueError: a value that is not in its range.
    """

    size: int = 128
    digits: int = 6
    scale: tuple[int, int] = (16, 48)
    clutter: float = 0.5
    overlap: float = 0.2
    count: int = 3000

    def __post_init__(self):
        for name in ARGUMENTS:
            setattr(self, name, _checked(name, getattr(self, name)))
        most = self.size * 2 // 3
        if self.scale[1] > most:
            raise ValueError(
                f"scale must be at most two thirds of size, which is {self.size}. "
                f"Received: {_written(self.scale)}. Accepted: 8 to {most}, such as scale=8-{most}."
            )


def changed(config: DigitScenesConfig, arguments: dict) -> DigitScenesConfig:
    """A configuration with other arguments, named after those that differ, such as "default-size96-scale20-40".

    Raises:
        ValueError: an argument that is unknown or not in its range.
    """
    for name in arguments:
        choose("argument of 'digit_scenes'", name, ARGUMENTS)
    made = dataclasses.replace(config, **arguments)
    differing = [name for name in ARGUMENTS if getattr(made, name) != getattr(config, name)]
    if not differing:
        return config
    made.name = "-".join([config.name, *(name + _written(getattr(made, name)) for name in differing)])
    made.description = f"{config.name} with other arguments."
    return made


class DigitScenes(tfds.core.GeneratorBasedBuilder):
    """Scanned digits on canvases of photographs, textures and colours.

    Its arguments are those of `DigitScenesConfig`; they change the configuration that is named, else the default one.
    Data made with other arguments lies in another folder.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012 (the form TFDS prescribes)
    ARGUMENTS = ARGUMENTS
    BUILDER_CONFIGS = [  # noqa: RUF012 (the first is the default)
        DigitScenesConfig(name="default", description="Up to 6 digits in 128 x 128 pixels, with some clutter."),
        DigitScenesConfig(
            name="crowded",
            description="Up to 14 digits in 128 x 128 pixels, on one another, with much clutter.",
            digits=14,
            scale=(16, 40),
            clutter=1.0,
            overlap=0.4,
        ),
        DigitScenesConfig(
            name="clear",
            description="Up to 4 digits in 128 x 128 pixels, apart from one another, without clutter.",
            digits=4,
            scale=(20, 48),
            clutter=0.0,
            overlap=0.0,
        ),
        DigitScenesConfig(
            name="small",
            description="Up to 3 digits in 64 x 64 pixels, with little clutter: 1,200 scenes to try things on.",
            size=64,
            digits=3,
            scale=(16, 32),
            clutter=0.25,
            overlap=0.1,
            count=1200,
        ),
    ]

    def __init__(self, *, config: str | DigitScenesConfig | None = None, data_dir=None, version=None, **arguments):
        """See `DigitScenesConfig`, and `tfds.core.DatasetBuilder` for the rest.

        Raises:
            ValueError: an argument that is unknown or not in its range.
        """
        options = {"file_format": arguments.pop("file_format")} if "file_format" in arguments else {}
        if arguments:
            config = changed(self._named(config), arguments)
            config = config.name if config.name in self.builder_configs else config
        super().__init__(config=config, data_dir=data_dir, version=version, **options)

    def _named(self, config):
        if isinstance(config, DigitScenesConfig):
            return config
        return self.builder_configs[
            choose(f"configuration of {self.name!r}", config or "default", self.builder_configs)
        ]

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Handwritten digits, scans of 8 x 8 pixels that scikit-learn ships, enlarged, turned, coloured and "
                "scattered on patches of photographs, tinted textures and plain colours, among discs, strokes and "
                "letters that are no digits. Training scenes have only scans of the training part of digits and "
                "photographs of the training part of photographs, test scenes only those of their test parts. The box "
                "of a digit is the tight one around its visible pixels, from the upper edge of the first to the lower "
                "edge of the last; segmentation_mask says of every pixel whether it is background (0) or of a digit d "
                "(d + 1). Later digits lie on top. In every fiftieth scene there is no digit. "
                f"Here: {', '.join(f'{name} {_written(getattr(config, name))}' for name in ARGUMENTS)}."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(config.size, config.size, 3), dtype=np.uint8, encoding_format="png"
                    ),
                    "objects": tfds.features.Sequence(
                        {
                            "bbox": tfds.features.BBoxFeature(),
                            "label": tfds.features.ClassLabel(names=list(scenes.NAMES)),
                        }
                    ),
                    "segmentation_mask": tfds.features.Image(
                        shape=(config.size, config.size, 1), dtype=np.uint8, encoding_format="png"
                    ),
                }
            ),
            license=f"digits: {digits.LICENSE}; {photographs.licences({**photographs.COLOUR, **photographs.TEXTURES})}",
            homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
            citation=(
                "@misc{alpaydin1998optical, title={Optical Recognition of Handwritten Digits}, "
                "author={Alpaydin, E. and Kaynak, C.}, year={1998}, publisher={UCI Machine Learning Repository}, "
                "doi={10.24432/C50P49}}"
            ),
            metadata=tfds.core.MetadataDict(mask_names=list(scenes.MASK_NAMES)),
        )

    def _split_generators(self, dl_manager):
        count = self.builder_config.count
        sizes = {"train": count, "test": math.ceil(count / TEST_SHARE)}
        return {part: self._generate_examples(part, size) for part, size in sizes.items()}

    def _generate_examples(self, part, size):
        height = width = self.builder_config.size
        for index in range(size):
            scene = scenes.draw_scene(self.builder_config, part, index)
            objects = [
                {
                    "bbox": tfds.features.BBox(
                        ymin=top / height, xmin=left / width, ymax=bottom / height, xmax=right / width
                    ),
                    "label": label,
                }
                for (top, left, bottom, right), label in zip(scene.boxes, scene.labels, strict=True)
            ]
            yield (
                index,
                {"image": _png(scene.image), "objects": objects, "segmentation_mask": scene.mask[..., np.newaxis]},
            )


def _png(image: np.ndarray) -> io.BytesIO:
    """A PNG file, a tenth larger than those that TFDS writes and in half the time."""
    import PIL.Image

    file = io.BytesIO()
    PIL.Image.fromarray(image).save(file, "png", compress_level=1)
    file.seek(0)
    return file
