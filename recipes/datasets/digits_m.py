"""Digits on patches of photographs: what a network trained on plain digits is adapted to."""

import dataclasses
import os

import numpy as np
import tensorflow_datasets as tfds

from recipes.datasets import canvases, digits, photographs

SEED = 0
ENLARGED = 4
_LICENCES = {"digits": f"digits: {digits.LICENSE}", "mnist": "MNIST: CC-BY-SA-3.0, as Keras' documentation says"}


@dataclasses.dataclass(kw_only=True)
class DigitsMConfig(tfds.core.BuilderConfig):
    """Digits `size` x `size` pixels large."""

    size: int


class DigitsM(tfds.core.GeneratorBasedBuilder):
    """Digits blended with photographs, as MNIST-M is made of MNIST."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012 (the form TFDS prescribes)
    SOURCE = "mnist"
    BUILDER_CONFIGS = [  # noqa: RUF012 (the first is the default)
        DigitsMConfig(
            name="digits", description="The scans of digits enlarged to 32 x 32: 1,437 training and 360 test.", size=32
        ),
        DigitsMConfig(
            name="mnist", description="MNIST, which must be prepared: 60,000 training and 10,000 test.", size=28
        ),
    ]

    def __init__(self, *, source_dir=None, **arguments):
        """See `tfds.core.DatasetBuilder` for the other arguments.

        Args:
            source_dir: folder in which MNIST lies prepared; by default that in which this data set will lie, else
                $TFDS_DATA_DIR, else ~/tensorflow_datasets.
        """
        self._source_dir = source_dir
        super().__init__(**arguments)

    def _info(self) -> tfds.core.DatasetInfo:
        size = self.builder_config.size
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Handwritten digits blended with colour photographs as in MNIST-M (section 5.2 of the paper): every "
                "channel is the absolute difference of the digit's grey level and that of a patch cut at random out of "
                "the photographs of the data set photographs. Training pictures have patches of its training part, "
                "test pictures of its test part. The digits are in the order, the parts and the number of their "
                "source: the 8 x 8 scans of digits, enlarged to 32 x 32 by bilinear interpolation, or MNIST."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(size, size, 3), dtype=np.uint8, encoding_format="png"),
                    "label": tfds.features.ClassLabel(names=[str(digit) for digit in range(10)]),
                }
            ),
            supervised_keys=("image", "label"),
            license=f"{_LICENCES[self.builder_config.name]}; {photographs.licences(photographs.COLOUR)}",
            homepage="https://arxiv.org/abs/1505.07818",
            citation=(
                "@article{ganin2016domain, title={Domain-adversarial training of neural networks}, "
                "author={Ganin, Yaroslav and Ustinova, Evgeniya and Ajakan, Hana and Germain, Pascal and "
                "Larochelle, Hugo and Laviolette, Fran{\\c{c}}ois and Marchand, Mario and Lempitsky, Victor}, "
                "journal={Journal of Machine Learning Research}, volume={17}, number={59}, pages={1--35}, year={2016}}"
            ),
        )

    def _split_generators(self, dl_manager):
        read = {"digits": _read_scans, "mnist": self._mnist_reader}[self.builder_config.name]
        return {part: self._generate_examples(part, *read(part)) for part in ("train", "test")}

    def _mnist_reader(self, part):
        builder = find_mnist(self._source_dir, self.data_dir_root)
        batch = builder.as_dataset(split=part, batch_size=-1, shuffle_files=False)
        return batch["image"].numpy()[..., 0], batch["label"].numpy()

    def _generate_examples(self, part, images, labels):
        random = np.random.RandomState([SEED, ("train", "test").index(part)])
        pictures = photographs.colour(part)
        for index, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            patch = canvases.cut_patch(
                random, pictures[canvases.draw_int(random, len(pictures))], self.builder_config.size
            )
            yield index, {"image": blend(image, patch), "label": label}


def blend(digit: np.ndarray, patch: np.ndarray) -> np.ndarray:
    """Blend grey levels [H, W] with a patch [H, W, 3], both uint8: the absolute difference per channel, uint8."""
    return np.abs(patch.astype(np.int16) - digit[..., np.newaxis]).astype(np.uint8)


def _read_scans(part):
    _, images, labels = digits.scans(part)
    return enlarge(images), labels


def enlarge(images: np.ndarray) -> np.ndarray:
    """Enlarge uint8 [N, 8, 8] to uint8 [N, 32, 32], bilinear with half-pixel centres, in whole numbers."""
    position = np.arange(8 * ENLARGED) * 2 + 1 - ENLARGED  # in eighths of a pixel, from the centre of the first
    lower, share = np.divmod(np.clip(position, 0, 7 * 2 * ENLARGED), 2 * ENLARGED)
    upper = np.minimum(lower + 1, 7)
    rows = images.astype(np.int64)
    for _ in range(2):
        rows = rows[:, lower] * (2 * ENLARGED - share)[:, np.newaxis] + rows[:, upper] * share[:, np.newaxis]
        rows = rows.swapaxes(1, 2)
    unit = (2 * ENLARGED) ** 2
    return ((rows + unit // 2) // unit).astype(np.uint8)


def find_mnist(*folders) -> tfds.core.DatasetBuilder:
    """The builder of MNIST in the first of some folders, or of the usual ones, that holds it prepared.

    Raises:
        ValueError: none does.
    """
    from recipes.data import prepared  # which imports this package

    searched = dict.fromkeys([os.fspath(prepared.data_folder(folder)) for folder in (*filter(None, folders), None)])
    for folder in searched:
        if builder := prepared.builder_of_files("mnist", prepared.data_folder(folder)):
            return builder
    raise ValueError(
        f"Data set 'digits_m/mnist' is made of MNIST, which is not prepared in {' or '.join(searched)}. With a "
        f"network: `tfds build mnist --data_dir {next(iter(searched))}`; or pass the folder that holds it as data_dir "
        "or TFDS_DATA_DIR; without either: 'digits_m/digits', which is made of scikit-learn's scans."
    )
