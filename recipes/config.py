"""What every recipe takes, stated once: the Python calls, the command line and the Run's record are made from it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from os import PathLike
from typing import Any, get_args

from recipes.interval import Interval
from zoo.nearest import choose

OPTIMIZERS = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw")
SCHEDULES = ("constant", "step", "cosine", "annealed")
AUGMENTATIONS = ("flip", "rotate", "shift", "zoom", "contrast", "random_resized_crop", "rand_augment")
ANNOTATED_AUGMENTATIONS = ("flip", "contrast")  # of pictures with masks or boxes
PRECISIONS = ("float32", "bfloat16", "float16")
DISTRIBUTIONS = ("auto", "data", "model")
TOKENIZERS = ("words", "characters", "wordpiece", "byte_pairs")
TOO_LONG = ("truncate", "refuse")
RESIZE_METHODS = ("bilinear", "bicubic", "nearest", "area", "lanczos3", "lanczos5")

BUILDER_OPTIONS = ("dropout", "stochastic_depth")
"""Options that are arguments of the builders that take them."""

LONGEST = 256
"""Most tokens of a text, where nothing else is said."""


def option(
    default,
    text: str,
    *,
    choices: tuple[str, ...] = (),
    least: float | None = None,
    above: float | None = None,
    below: float | None = None,
):
    """A field with its explanation, and what values are accepted."""
    default = {"default_factory": default} if callable(default) else {"default": default}
    accepted = {"choices": choices, "least": least, "above": above, "below": below}
    return field(**default, metadata={"help": text, **accepted})


@dataclass(frozen=True)
class Config:
    """Options of every recipe."""

    run_dir: str | None = option(None, "Folder of the Run. Default: runs/MODEL-DATA.")
    overwrite: bool = option(False, "Replace a Run that is in the folder already.")
    resume: bool = option(
        False, "Go on with the training that stopped short in the folder; or with more epochs, that is finished there."
    )
    override: bool = option(False, "Resume though data, model or options are others than the training began with.")
    checkpoint_every: str | None = option(
        None,
        "Time or steps between two checkpoints, such as 30s, 10m, 500steps. Default: 60s within an epoch, 10s at its "
        "end, more where writing one would take over 1 % of the time.",
    )
    checkpoint_keep: int = option(2, "Checkpoints that are kept, the last ones.", least=1)

    data_dir: str | None = option(None, "Where TFDS data sets lie. Default: TFDS_DATA_DIR or ~/tensorflow_datasets.")
    train_split: str = option("train", "TFDS split to train on, such as train[:80%].")
    test_split: str | None = option(None, "TFDS split to test on. Default: the data set's own test part.")
    validation: str | float = option(
        0.1, "Fraction of the training part kept for validation, 0 for none; or a TFDS split.", least=0, below=1
    )
    test: float = option(0.1, "Fraction split off for the test where the data has no test part.", least=0, below=1)
    target: str | None = option(None, "The CSV's target column.")
    cache_dir: str | None = option(
        None,
        "Folder that keeps preprocessed examples that do not fit into memory, for later epochs and trainings. Default: "
        "they are preprocessed anew in every epoch.",
    )

    model_args: Mapping[str, Any] = option(dict, 'Arguments of the builder, such as {"hidden_sizes": [16, 16]}.')
    dropout: float | None = option(None, "Rate of dropout, for builders that take it.", least=0, below=1)
    precision: str = option("float32", "What training computes in; the Run is always float32.", choices=PRECISIONS)

    # Only some tasks begin with weights, see `FineTuningConfig`, or set what Adam keeps, see `GenerationConfig`.
    beta_1 = None
    weights = freeze = unfreeze_at = None
    rate_decay = 1.0

    distribute: str = option(
        "auto",
        "Several devices: with data each has a part of every batch, with model of a Transformer's weights; auto is "
        "data where there are several accelerators.",
        choices=DISTRIBUTIONS,
    )
    epochs: int = option(5, "Passes over the training part.", least=1)
    batch_size: int = option(64, "Examples per step.", least=1)
    gradient_accumulation: int = option(1, "Steps whose gradients are averaged for one update.", least=1)
    optimizer: str = option("adam", "How the weights are updated.", choices=OPTIMIZERS)
    learning_rate: float | None = option(None, "Peak rate. Default: 0.01 for sgd's family, else 0.001.", above=0)
    schedule: str = option(
        "constant", "Rate over time; step divides by 10 at 1/2 and 3/4, annealed by (1 + 10 p)^0.75.", choices=SCHEDULES
    )
    warmup_epochs: float = option(0.0, "Epochs of linear warm-up before the schedule.", least=0)
    weight_decay: float | None = option(None, "Decoupled decay. Default: 0.01 for adamw, else 0.", least=0)
    l1: float = option(0.0, "Penalty on |w| of every kernel.", least=0)
    l2: float = option(0.0, "Penalty on w² of every kernel.", least=0)
    clip_norm: float | None = option(None, "Largest global norm of the gradients.", above=0)
    class_weights: str | Mapping[str | int, float] | None = option(
        None, "'balanced', or a weight for every class, by name or id."
    )
    ema: float | None = option(
        None,
        "Keep this share of a moving average of the trainable weights at every update; the Run has the average.",
        above=0,
        below=1,
    )
    patience: int | None = option(None, "Stop after so many epochs without gain, keep the best weights.", least=1)
    monitor: str | None = option(None, "What 'best' is measured by. Default: val_loss, or loss without validation.")
    shuffle: bool = option(True, "Another order of the examples in every epoch.")
    seed: int = option(
        0, "Seed of weights, order, augmentation and dropout: same seed, same run.", least=0, below=2**32 - 1
    )
    verbose: bool = option(True, "Show progress.")
    tensorboard: bool = option(False, "Write event files for TensorBoard into the Run's folder, tensorboard/.")

    def __post_init__(self):
        for spec in dataclasses.fields(self):
            _check(spec, getattr(self, spec.name))
        if self.overwrite and self.resume:
            raise ValueError("overwrite begins anew and resume goes on. Accepted: one of them.")
        if self.override and not self.resume:
            raise ValueError("override is for a training that goes on: say resume, too.")
        if self.checkpoint_every is not None:
            Interval.parse(self.checkpoint_every)

    def recorded(self) -> dict[str, Any]:
        """The options that bear on the result, as JSON values; None for data in memory."""
        names = [spec.name for spec in dataclasses.fields(self) if spec.name not in UNRECORDED]
        return {name: as_json(getattr(self, name)) for name in names}


UNRECORDED = (
    "run_dir",
    "overwrite",
    "resume",
    "override",
    "checkpoint_every",
    "checkpoint_keep",
    "distribute",
    "verbose",
    "tensorboard",
    "cache_dir",
)

OF_TRAINING_ALONE = (
    "dropout",
    "precision",
    "epochs",
    "batch_size",
    "gradient_accumulation",
    "optimizer",
    "learning_rate",
    "schedule",
    "warmup_epochs",
    "weight_decay",
    "l1",
    "l2",
    "clip_norm",
    "class_weights",
    "ema",
    "patience",
    "monitor",
    "shuffle",
    "mixup",
    "cutmix",
    "augment",
    "label_smoothing",
    "stochastic_depth",
)
"""Options on which no example depends before it is augmented."""


def as_json(value):
    """An option's value as JSON has it; None for what is in memory alone, such as arrays."""
    if isinstance(value, Mapping):
        return {str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [as_json(inner) for inner in value]
    if isinstance(value, PathLike):
        return str(value)
    return value if isinstance(value, (str, bool, int, float, type(None))) else None


def _check(spec: dataclasses.Field, value) -> None:
    """Raise ValueError for a value outside what the option accepts."""
    accepted = spec.metadata
    words = value if isinstance(value, tuple) else () if value is None else (value,)
    for word in words if accepted["choices"] else ():
        choose(spec.name, word, accepted["choices"])
    least, above, below = accepted["least"], accepted["above"], accepted["below"]
    if (least is None and above is None) or value is None or (isinstance(value, str) and str in get_args(spec.type)):
        return
    whole = spec.type in (int, int | None)
    is_number = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
    in_range = is_number and (least is None or value >= least) and (above is None or value > above)
    if not in_range or (below is not None and value >= below):
        bounds = [f"of at least {least}" if above is None else f"above {above}"]
        bounds += [f"below {below}"] if below is not None else []
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"{spec.name} must be {kind} {' and '.join(bounds)}. Received: {value!r}.")


@dataclass(frozen=True)
class TableConfig(Config):
    """Options of recipes that read tables."""

    standardize: bool | None = option(
        None, "Scale columns to mean 0 and deviation 1. Default: when their scales are far apart."
    )


@dataclass(frozen=True)
class RegressionConfig(TableConfig):
    """Options of `regression`."""

    loss: str = option("mse", "half_mse is (y - t)²/2.", choices=("mse", "half_mse", "mae", "huber"))


@dataclass(frozen=True)
class BinaryConfig(TableConfig):
    """Options of `binary_classification`."""

    label_smoothing: float = option(0.0, "Share of the truth given to the other class.", least=0, below=1)


@dataclass(frozen=True)
class FineTuningConfig(Config):
    """Options of recipes that can begin with weights from elsewhere."""

    weights: str | None = option(
        None, "Weights to begin with: 'imagenet' where published, a .keras or .weights.h5 file, or a Run's folder."
    )
    freeze: str | None = option(
        None, "Layers that stay as they are: 'backbone' (all but the head), or all up to a stage, such as stage3."
    )
    unfreeze_at: int | None = option(None, "Epochs after which frozen layers train, too. Default: never.", least=1)
    unfreeze_rate: float = option(0.1, "Factor of the learning rate after unfreezing.", above=0)
    rate_decay: float = option(1.0, "Factor of the learning rate from each stage to the one before it.", above=0)

    def __post_init__(self):
        if isinstance(self.freeze, bool):
            object.__setattr__(self, "freeze", "backbone" if self.freeze else None)
        if isinstance(self.weights, PathLike):
            object.__setattr__(self, "weights", str(self.weights))
        super().__post_init__()
        if self.unfreeze_at is not None and self.freeze is None:
            raise ValueError("unfreeze_at says when frozen layers train, and none are: say freeze='backbone', too.")
        if self.unfreeze_at is not None and self.unfreeze_at >= self.epochs:
            raise ValueError(
                f"unfreeze_at must be below the {self.epochs} epochs of the training. Received: {self.unfreeze_at}."
            )
        if self.unfreeze_at is not None and self.warmup_epochs > self.unfreeze_at:
            raise ValueError(
                f"The warm-up must end before the frozen layers train, at {self.unfreeze_at} epochs. "
                f"Received: warmup_epochs={self.warmup_epochs}."
            )


@dataclass(frozen=True)
class PictureConfig(FineTuningConfig):
    """Options of recipes that read pictures."""

    image_size: tuple[int, int] | None = option(
        None,
        "Height and width in pixels. Default: those of the weights; else the pictures' own where the model takes it, "
        "else the model's.",
    )
    channels: int | None = option(None, "1, 3 or 4. Default: those of the weights, else the pictures' own.")
    resize: str | None = option(
        None, "How pictures are resized. Default: as for the weights, else bilinear.", choices=RESIZE_METHODS
    )

    def __post_init__(self):
        if self.image_size is not None:
            object.__setattr__(self, "image_size", _size(self.image_size))
        super().__post_init__()


@dataclass(frozen=True)
class AugmentedConfig(PictureConfig):
    """Options of recipes that change their training pictures at random."""

    augment: tuple[str, ...] = option((), "Random changes of training pictures.", choices=ANNOTATED_AUGMENTATIONS)

    def __post_init__(self):
        if isinstance(self.augment, (str, list)):
            names = self.augment.split(",") if isinstance(self.augment, str) else self.augment
            object.__setattr__(self, "augment", tuple(names))
        super().__post_init__()


@dataclass(frozen=True)
class ImageConfig(AugmentedConfig):
    """Options of `image_classification`."""

    augment: tuple[str, ...] = option((), "Random changes of training pictures.", choices=AUGMENTATIONS)
    stochastic_depth: float | None = option(
        None, "Rate at which the last residual branch is dropped, for builders that take it.", least=0, below=1
    )
    mixup: float = option(0.0, "Mix pictures in pairs: alpha of the Beta distribution, 0 for not at all.", least=0)
    cutmix: float = option(0.0, "Exchange boxes of pictures: alpha of the Beta distribution.", least=0)
    label_smoothing: float = option(0.0, "Share of the truth given to the other classes.", least=0, below=1)


@dataclass(frozen=True)
class AdaptationConfig(AugmentedConfig):
    """Options of `domain_adaptation`."""

    augment: tuple[str, ...] = option((), "Random changes of training pictures.", choices=AUGMENTATIONS)
    target_data: str | None = option(
        None, "The pictures to adapt to: all that data may be; their classes are not learned from."
    )
    adaptation: float = option(
        1.0, "Largest factor of the reversed gradient, which grows towards it as in the paper; 0: not adapted.", least=0
    )
    domain_sizes: tuple[int, ...] = option((100,), "Units of the hidden layers that tell the domains apart.")
    compare: bool = option(
        True, "Train the network on the source alone, too, and on the target with its classes, to compare with."
    )
    label_smoothing: float = option(0.0, "Share of the truth given to the other classes.", least=0, below=1)


@dataclass(frozen=True)
class SegmentationConfig(AugmentedConfig):
    """Options of `semantic_segmentation`."""

    loss: str = option(
        "cross_entropy",
        "dice is that of V-Net; cross_entropy_dice is the sum of both.",
        choices=("cross_entropy", "dice", "cross_entropy_dice"),
    )


@dataclass(frozen=True)
class DetectionConfig(AugmentedConfig):
    """Options of `object_detection`."""

    score_threshold: float = option(0.05, "Detections that are no likelier are not answered.", least=0, below=1)
    iou_threshold: float = option(
        0.5, "Of two boxes of a class that overlap by more, the likelier one is answered.", least=0, below=1
    )
    most: int = option(100, "Most detections of a picture.", least=1)


@dataclass(frozen=True)
class GenerationConfig(Config):
    """Options of `image_generation`."""

    image_size: tuple[int, int] | None = option(
        None, "Height and width in pixels. Default: the pictures' own where they have one size."
    )
    channels: int | None = option(None, "1, 3 or 4. Default: the pictures' own.")
    latent_dim: int | None = option(None, "Numbers that a picture is made of. Default: the model's own.", least=1)
    partner: str | None = option(
        None, "Model whose discriminator is trained with it. Default: its own; for a built keras.Model that of gan."
    )
    loss: str | None = option(
        None,
        "Of the adversarial pair. Default: non_saturating; wasserstein for wgan_gp.",
        choices=("minimax", "non_saturating", "hinge", "wasserstein"),
    )
    gradient_penalty: float | None = option(
        None, "Weight of the penalty on the critic's gradient. Default: 10 for wasserstein, else 0.", least=0
    )
    critic_steps: int | None = option(
        None,
        "Updates of the discriminator for each of the generator. Default: 5 for wasserstein, else 1.",
        least=1,
    )
    partner_rate: float = option(1.0, "Factor of the learning rate of the discriminator or critic.", above=0)
    beta_1: float | None = option(
        None,
        "Of adam, how much of its mean gradient is kept. Default: 0.5; 0 for wasserstein; 0.9 for vae.",
        least=0,
        below=1,
    )
    samples: int = option(64, "Pictures of the grid that is drawn after every epoch; 0 for none.", least=0)
    measured: int = option(
        1000, "Pictures that Fréchet's distance is measured on after every epoch; 0 for none.", least=0
    )
    judge: str | None = option(
        None,
        "Run of a classifier whose features Fréchet's distance is measured in. Default: a LeNet-5, trained on the "
        "pictures' classes where they have any, else on digits.",
    )

    def __post_init__(self):
        if self.image_size is not None:
            object.__setattr__(self, "image_size", _size(self.image_size))
        super().__post_init__()
        if self.beta_1 is not None and not self.optimizer.startswith("adam"):
            raise ValueError(
                f"beta_1 is of adam and adamw. Received: beta_1={self.beta_1}, optimizer={self.optimizer!r}."
            )


@dataclass(frozen=True)
class StyleConfig(Config):
    """Options of `style_transfer`."""

    style: str = option("ihc", "The picture whose style is wanted: a file, or the name of one of photographs.")
    image_size: tuple[int, int] = option((256, 256), "Height and width in pixels in training.")
    crops: int = option(
        0, "Squares cut at random of every picture to train on; 0: each as a whole, resized to image_size.", least=0
    )
    content_weight: float = option(1.0, "Of what a picture shows, in the loss.", least=0)
    style_weight: float = option(5.0, "Of the style.", least=0)
    variation_weight: float = option(0.1, "Of the differences of neighbouring pixels.", least=0)
    perception: str = option(
        "imagenet", "Weights of the VGG-16 that compares pictures: imagenet, a file, a Run's folder, or random."
    )
    perception_args: Mapping[str, Any] = option(dict, 'Arguments of that VGG-16, such as {"widths": [16, …]}.')

    def __post_init__(self):
        object.__setattr__(self, "image_size", _size(self.image_size))
        super().__post_init__()


@dataclass(frozen=True)
class TextConfig(FineTuningConfig):
    """Options of recipes that read text."""

    text: str | None = option(None, "Name of the column or TFDS feature that holds the text.")
    tokenizer: str | None = option(
        None, "How texts are cut. Default: that of the weights, else the task's own.", choices=TOKENIZERS
    )
    vocabulary_size: int = option(
        20_000, "Most tokens in the vocabulary, which is fitted on the training part.", least=8
    )
    max_length: int | None = option(
        None, f"Most tokens of a text. Default: {LONGEST}, or fewer where the weights have read fewer.", least=1
    )
    too_long: str = option("truncate", "What happens to a longer text, also when it is served.", choices=TOO_LONG)


@dataclass(frozen=True)
class TextClassificationConfig(TextConfig):
    """Options of `text_classification`."""

    label_smoothing: float = option(0.0, "Share of the truth given to the other classes.", least=0, below=1)


@dataclass(frozen=True)
class WritingConfig(TextConfig):
    """Options of recipes whose networks write or complete texts."""

    samples: int = option(3, "Texts that are asked after every epoch, for samples.txt; 0 for none.", least=0)


@dataclass(frozen=True)
class MaskedConfig(WritingConfig):
    """Options of `masked_language_modeling`."""

    masked: float = option(0.15, "Share of the tokens that training asks for.", above=0, below=1)


@dataclass(frozen=True)
class LanguageConfig(WritingConfig):
    """Options of `language_modeling`."""

    segments: int = option(
        1, "Segments in which a training window is read, each remembering those before: of transformer_xl.", least=1
    )

    def __post_init__(self):
        super().__post_init__()
        if (self.max_length or LONGEST) % self.segments:
            raise ValueError(
                f"max_length must be a multiple of segments. Received: max_length={self.max_length or LONGEST}, "
                f"segments={self.segments}."
            )


@dataclass(frozen=True)
class SequenceConfig(WritingConfig):
    """Options of `sequence_to_sequence`."""

    label_smoothing: float = option(0.0, "Share of the truth given to all tokens alike.", least=0, below=1)
    beams: int = option(4, "Texts looked at when one is written.", least=1)


def _size(value) -> tuple[int, int]:
    """Height and width of what was given: two numbers, or one for both."""
    size = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    size = size * 2 if len(size) == 1 else size
    if len(size) != 2 or not all(isinstance(n, Integral) and n > 0 for n in size):
        raise ValueError(f"image_size must be height and width in pixels, or one number for both. Received: {value!r}.")
    return size
