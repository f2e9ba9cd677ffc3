"""Image generation: pictures out of noise, like those of the data."""

import dataclasses
import functools
from pathlib import Path

import keras
import numpy as np
from keras import ops

import zoo
from recipes import backend, parts_of_loss
from recipes.adversarial import AdversarialTraining
from recipes.answers import GeneratedAnswer
from recipes.config import GenerationConfig
from recipes.examples import Examples
from recipes.frechet import frechet_distance
from recipes.generated_samples import FrechetDistance, SampleGrid, generated
from recipes.judge import Judge, judge_of
from recipes.optimizers import peak_rate
from recipes.pipeline import Reading, prepare
from recipes.preprocessing import ImagePreprocessing, LatentPreprocessing
from recipes.recipe import takes
from recipes.tasks.pictures import several_sizes
from recipes.tasks.task import Task, input_shape_of
from recipes.trained_form import trained_form
from recipes.training import train
from recipes.variational import PARTS, VariationalTraining
from zoo.adversarial import LOSSES, PENALTY_WEIGHT
from zoo.nearest import choose

PARTNER_FILE = "partner.keras"
WASSERSTEIN, OF_ITS_OWN = "wasserstein", "wgan_gp"
VARIATIONAL = "vae"
USUAL_PARTNER = "gan"
ADVERSARIAL_RATE, CRITIC_STEPS = 0.0002, 5  # Radford et al. 2016, §4; Gulrajani et al. 2017, algorithm 1
MOST_MEASURED = 10_000
EXAMPLES, COUNTS = 64, 4


@takes(GenerationConfig)
def image_generation(model, data, config):
    """Train a network to make pictures like those of the data out of random numbers.

    Beside it a second network is trained, the model's partner: a discriminator or critic, that tells its pictures from
    real ones (Goodfellow et al. 2014), or, of `vae`, the encoder (Kingma & Welling 2014). The Run keeps it as
    `partner.keras`, a grid of the same latents' pictures after every epoch in `samples/`, and all of them as
    `samples.gif`.

    Args:
        model: a registry name, or a `keras.Model` from latents `(batch, n)` to pictures in -1..1 `(batch, height,
            width, channels)`, which is trained in place.
        data: a TFDS name, a folder of pictures, an array of them, alone or with classes, or a `tf.data.Dataset`.

    Returns:
        A Run. Figures: `frechet`, Fréchet's distance between generated pictures and those of the test part in the
        features of a LeNet-5 of ours, `frechet_real`, the same of as many training pictures, and, where there are
        classes, `mode_coverage`, the share of them that are generated, and `class_divergence` in nats; see
        `recipes.frechet`. Of `vae` also `elbo`, the evidence lower bound in nats.

    Raises:
        ValueError: bad data or options; `TrainingDiverged` when a loss becomes NaN.
    """
    return train(ImageGeneration, model, data, _with_defaults(model, config))


def _with_defaults(model: str | keras.Model, config: GenerationConfig) -> GenerationConfig:
    """The options with those that depend on others filled in."""
    partner = config.partner or (model if isinstance(model, str) else USUAL_PARTNER)
    found = {"partner": choose("partner", partner, zoo.list_models(task=ImageGeneration.name))}
    own = model if isinstance(model, str) else None
    if (own == VARIATIONAL) != (partner == VARIATIONAL):
        raise ValueError(
            f"An encoder is the partner of vae alone. Received: partner={partner!r} for {own or 'a model'}."
        )
    if partner == VARIATIONAL:
        for name in ("loss", "gradient_penalty", "critic_steps"):
            if getattr(config, name) is not None:
                raise ValueError(f"{name} is for adversarial pairs; vae is trained by its evidence lower bound.")
    else:
        loss = config.loss or (WASSERSTEIN if partner == OF_ITS_OWN else "non_saturating")
        critic = loss == WASSERSTEIN
        found["loss"] = loss
        if config.gradient_penalty is None:
            found["gradient_penalty"] = PENALTY_WEIGHT if critic else 0.0
        if config.critic_steps is None:
            found["critic_steps"] = CRITIC_STEPS if critic else 1
        is_adam = config.optimizer.startswith("adam")
        if config.beta_1 is None and is_adam:
            found["beta_1"] = 0.0 if critic else 0.5
        if config.learning_rate is None and is_adam:
            found["learning_rate"] = ADVERSARIAL_RATE
    return dataclasses.replace(config, **found)


class ImageGeneration(Task):
    """Pictures out of latents."""

    name = "image-generation"
    num_classes = None
    distributes = False

    @classmethod
    def check_backend(cls, config):
        super().check_backend(config)
        if config.partner != VARIATIONAL:
            backend.check(f"The training of an adversarial pair, here that of {config.partner},")

    @property
    def variational(self) -> bool:
        """Whether an encoder is trained with the network, and not a discriminator."""
        return self.config.partner == VARIATIONAL

    def preprocessing(self, model):
        return LatentPreprocessing(self._latent_dim(model))

    def _latent_dim(self, model):
        if isinstance(model, str):
            given = self.config.model_args.get("input_shape", zoo.spec(model).arguments["input_shape"])
            return self.config.latent_dim or given[0]
        shape = input_shape_of(model)
        if len(shape) != 1 or self.config.latent_dim not in (None, *shape):
            wanted = f"({self.config.latent_dim or 'n'},)"
            raise ValueError(f"{model.name!r} takes {shape} per picture. Accepted: latents {wanted}.")
        return shape[0]

    @functools.cached_property
    def pictures(self) -> ImagePreprocessing:
        """The way in of real pictures, to -1..1."""
        *own, channels = self.data.image_shape
        size = self.config.image_size or own
        if None in size:
            raise several_sizes(self.config.partner, self.data.name)
        return ImagePreprocessing(*size, self.config.channels or channels, scale=2 / 255, mean=(1.0,))

    def builder_arguments(self, spec, preprocessing):
        return {"input_shape": preprocessing.shape, "image_shape": self.pictures.shape}

    def make_answer(self, model):
        if model.output_shape[1:] != self.pictures.shape:
            raise ValueError(
                f"{model.name!r} gives {model.output_shape[1:]} per latent, but the pictures of {self.data.name!r} are "
                f"read as {self.pictures.shape}. Accepted: {self.pictures.shape}, or say image_size and channels."
            )
        return GeneratedAnswer()

    def encode(self, y):
        return y

    def part(self, name, preprocessing, encode):
        return prepare(
            self.data.parts[name],
            self.data.sizes[name],
            Reading(lambda x, y: (self.pictures.one(self.levels(x)), y)),
            bytes_per_example=4 * np.prod(self.pictures.shape),
        )

    def in_training(self, network, preprocessing):
        config = self.config
        spec = zoo.spec(config.partner)
        known = {k: v for k, v in config.model_args.items() if k in spec.arguments}
        self.partner = zoo.build_partner(config.partner, **{**self.builder_arguments(spec, preprocessing), **known})
        self.partner_form = trained_form(self.partner, config.precision)
        if self.variational:
            return VariationalTraining(self.partner_form, zoo.features(network, "logits"), config.seed), None
        trained = AdversarialTraining(
            network,
            self.partner_form,
            LOSSES[config.loss],
            config.gradient_penalty,
            config.critic_steps,
            config.seed,
        )
        return trained, None

    def compile(self, trained, optimizer):
        if self.variational:
            super().compile(trained, optimizer)
            return
        # The discriminator has no averages: nobody looks at it afterwards.
        own = dataclasses.replace(
            self.config, ema=None, learning_rate=peak_rate(self.config) * self.config.partner_rate
        )
        trained.compile(optimizer(every=self.config.critic_steps), optimizer(own))

    @property
    def validates(self):
        """Whether the network in training gives a loss of other pictures."""
        return self.variational

    def loss(self):
        return parts_of_loss.SumOfParts()

    def metrics(self):
        return parts_of_loss.parts(*PARTS) if self.variational else []

    @property
    def logged(self):
        """Names of an epoch's figures beside those of the metrics."""
        of_pair = [] if self.variational else ["discriminator_loss"]
        return [*of_pair, *(["frechet"] if self.config.measured else [])]

    @property
    def monitor(self):
        """By what the best epoch is told: an adversarial loss says nothing of the pictures."""
        return None if self.variational or not self.config.measured else "frechet"

    def callbacks(self, bundle):
        found = [SavedPartner(self.partner, self.partner_form, self.folder)]
        judge = self.judge  # needed in the end anyway: before the training it is known whether it will do
        if self.config.measured:
            found.append(FrechetDistance(bundle, judge, self._real("validation", self.config.measured)))
        if self.config.samples:
            found.append(SampleGrid(bundle, self.config.samples, self.folder))
        return found

    @functools.cached_property
    def judge(self) -> Judge:
        """By whose eyes pictures are compared."""
        return judge_of(self.data, self.folder, self.config.judge, self.config)

    def _real(self, name, most):
        """At most so many real pictures in 0..1; of the training part where there is no part of that name."""
        part = self.part(name if self.data.sizes.get(name) else "train", None, None)
        found = [x.numpy() for x, _ in part.batches(500).take(-(-most // 500))]
        return (np.concatenate(found)[:most] + 1) / 2

    def answers(self, bundle):
        """As many generated pictures as there are in the test part, 10,000 at most, and those."""
        real = self._real(self.data.evaluated_on, MOST_MEASURED)
        return {"image": generated(bundle, 0, len(real))}, real

    def figures(self, answers, y):
        seen = self.judge.looks_at(y)
        found = self.judge.figures(self.judge.looks_at(answers["image"]), seen)
        others = self.judge.looks_at(self._real("train", len(y)))
        found["frechet_real"] = frechet_distance(others.features, seen.features)
        return found | (self._elbo() if self.variational else {})

    def _elbo(self):
        encoder = keras.saving.load_model(self.folder / PARTNER_FILE, compile=False)
        bound = VariationalTraining(encoder, zoo.features(self.model, "logits"), self.config.seed)
        part = self.part(self.data.evaluated_on, None, None)
        losses = [ops.convert_to_numpy(bound(x)).sum(axis=-1) for x, _ in part.batches(500).as_numpy_iterator()]
        return {"elbo": -float(np.mean(np.concatenate(losses)))}

    def examples(self):
        rows = np.arange(EXAMPLES)
        raw = {"seed": rows.astype(np.int64), "count": (1 + rows % COUNTS).astype(np.int64)}
        return Examples(raw, np.full(EXAMPLES, "", object), "")


class SavedPartner(keras.callbacks.Callback):
    """Writes the network that is trained beside the one that is served, when the training ends.

    Args:
        partner: the network.
        form: in which it is trained.
        folder: of the Run.
    """

    def __init__(self, partner: keras.Model, form: keras.Model, folder: Path):
        super().__init__()
        self.partner, self.form, self.folder = partner, form, folder

    def on_train_end(self, logs=None):
        self.partner.set_weights(self.form.get_weights())
        self.partner.save(self.folder / PARTNER_FILE)
