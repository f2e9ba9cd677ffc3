"""Photographs: those that scikit-image and scikit-learn ship as files, so that none is downloaded."""

import dataclasses
import functools
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds


@dataclasses.dataclass(frozen=True)
class Photograph:
    """A file in an installed package.

    Attributes:
        package: "skimage" or "sklearn".
        path: of the file, below the package.
        part: "train" or "test".
        licence: under which terms it is published, and by whom.
    """

    package: str
    path: str
    part: str
    licence: str


COLOUR = {
    "astronaut": Photograph("skimage", "data/astronaut.png", "train", "public domain, NASA"),
    "chelsea": Photograph("skimage", "data/chelsea.png", "test", "CC0, Stefan van der Walt"),
    "china": Photograph("sklearn", "datasets/images/china.jpg", "test", "CC BY 2.0, danielbuechele"),
    "coffee": Photograph("skimage", "data/coffee.png", "train", "CC0, Rachel Michetti"),
    "flower": Photograph("sklearn", "datasets/images/flower.jpg", "train", "CC BY 2.0, vultilion"),
    "ihc": Photograph("skimage", "data/ihc.png", "train", "no known restrictions, CMMI"),
    "motorcycle_left": Photograph(
        "skimage", "data/motorcycle_left.png", "train", "Middlebury Stereo 2014, names no licence, asks to be cited"
    ),
    "rocket": Photograph("skimage", "data/rocket.jpg", "train", "public domain, SpaceX"),
}
TEXTURES = {
    "brick": Photograph("skimage", "data/brick.png", "train", "CC0, CC0 Textures"),
    "grass": Photograph("skimage", "data/grass.png", "train", "CC0, linolafett"),
    "gravel": Photograph("skimage", "data/gravel.png", "test", "CC0, CC0 Textures"),
}
_DISTRIBUTIONS = {"skimage": "scikit-image", "sklearn": "scikit-learn"}


def licences(photographs: Mapping[str, Photograph]) -> str:
    """Under which licence each photograph is published, in one line."""
    return "; ".join(f"{name}: {one.licence}" for name, one in photographs.items())


@dataclasses.dataclass(kw_only=True)
class PhotographsConfig(tfds.core.BuilderConfig):
    """Photographs by name."""

    photographs: dict[str, Photograph]


class Photographs(tfds.core.GeneratorBasedBuilder):
    """Pictures of some hundred pixels a side, to cut patches from."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012 (the form TFDS prescribes)
    BUILDER_CONFIGS = [  # noqa: RUF012 (the first is the default)
        PhotographsConfig(name="colour", description="Eight in colour: six and two.", photographs=COLOUR),
        PhotographsConfig(
            name="textures", description="Three grey textures of 512 x 512: two and one.", photographs=TEXTURES
        ),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        photographs = self.builder_config.photographs
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Photographs that scikit-image and scikit-learn ship, in their own sizes: an astronaut, a cat, a "
                "pagoda, a cup, a flower, stained tissue, a motorcycle and a rocket; as textures bricks, grass and "
                "gravel, whose three channels are equal. Each is in the training or in the test part. Here: "
                f"{', '.join(photographs)}."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), dtype=np.uint8, encoding_format="png"),
                    "name": tfds.features.Text(),
                }
            ),
            license=licences(photographs),
            homepage="https://scikit-image.org/docs/stable/api/skimage.data.html",
            citation=(
                "@article{vanderwalt2014scikit, title={scikit-image: image processing in Python}, "
                "author={van der Walt, St{\\'e}fan and Sch{\\\"o}nberger, Johannes L. and Nunez-Iglesias, Juan and "
                "Boulogne, Fran{\\c{c}}ois and Warner, Joshua D. and Yager, Neil and Gouillart, Emmanuelle and "
                "Yu, Tony}, journal={PeerJ}, volume={2}, pages={e453}, year={2014}}"
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {part: self._generate_examples(part) for part in ("train", "test")}

    def _generate_examples(self, part):
        named = [name for name, one in self.builder_config.photographs.items() if one.part == part]
        for index, name in enumerate(named):
            yield index, {"image": read(self.builder_config.photographs[name]), "name": name}


@functools.cache
def colour(part: str) -> tuple[np.ndarray, ...]:
    """The colour photographs of "train" or "test", uint8 [H, W, 3] each."""
    return tuple(read(one) for one in COLOUR.values() if one.part == part)


@functools.cache
def textures(part: str) -> tuple[np.ndarray, ...]:
    """The grey textures of "train" or "test", uint8 [512, 512, 3] with equal channels each."""
    return tuple(read(one) for one in TEXTURES.values() if one.part == part)


def read(photograph: Photograph) -> np.ndarray:
    """Read a photograph: uint8 [H, W, 3], not writable.

    Raises:
        ValueError: the installed package does not ship the file.
    """
    import PIL.Image

    path = Path(importlib.util.find_spec(photograph.package).submodule_search_locations[0]) / photograph.path
    if not path.is_file():
        distribution = _DISTRIBUTIONS[photograph.package]
        version = importlib.metadata.version(distribution)
        raise ValueError(
            f"The installed {distribution} {version} does not ship {photograph.path}. Accepted: a version that does, "
            "such as scikit-image 0.26 or scikit-learn 1.9, installed from a wheel."
        )
    with PIL.Image.open(path) as picture:
        pixels = np.array(picture.convert("RGB"))
    pixels.flags.writeable = False
    return pixels
