"""Domain adaptation: classes learned on one kind of pictures, for another kind whose classes nobody has told."""

import dataclasses
import functools

import keras
import numpy as np

import zoo
from recipes import licenses, parts_of_loss
from recipes.adapting import PARTS, AdaptationSchedule, AdaptingTraining, Pairs
from recipes.augmentation import Augmentation
from recipes.bundle import Bundle
from recipes.config import AdaptationConfig, ImageConfig
from recipes.data import Data, load
from recipes.examples import sample
from recipes.recipe import takes
from recipes.run import load_run
from recipes.tasks.image_classification import ImageClassification
from recipes.tasks.task import Task
from recipes.training import train
from zoo.architectures.dann import domain_head

SOURCE_ONLY, TARGET_TRAINED = "source_only", "target_trained"
PICTURED = 500
"""Pictures of each domain whose features are pictured."""


@takes(AdaptationConfig)
def domain_adaptation(model, data, config):
    """Train a network to name what pictures of another domain show, out of classes of the source domain alone.

    Ganin & Lempitsky 2015 (DANN): features are learned that tell the classes of the source, and from which a second
    head, whose gradient is reversed, cannot tell the two domains apart. Any network that names pictures will do.

    Args:
        model: a registry name (`dann`, or any of image classification), or a `keras.Model` with one input `(batch,
            height, width, channels)`, which is trained in place.
        data: the source: what `image_classification` takes.
        target_data: (an option) the target: what `image_classification` takes, or pictures without classes.

    Returns:
        A Run. Figures of the target's test part, where its classes are known: `accuracy`, and with `compare`
        `source_only_accuracy` and `target_trained_accuracy`, those of the same network without adaptation and trained
        on the target's classes, whose Runs lie in the folders `source_only` and `target_trained`. Of the source's test
        part: `source_accuracy`.

    Raises:
        ValueError: bad data or options, a target of other classes; `TrainingDiverged` when the loss becomes NaN.
    """
    return train(DomainAdaptation, model, data, config)


class DomainAdaptation(ImageClassification):
    """Classes of the source, for pictures of the target."""

    name = "domain-adaptation"
    distributes = False

    @functools.cached_property
    def target(self) -> Data:
        """The data adapted to."""
        config = self.config
        if config.target_data is None:
            raise ValueError("Adaptation needs two kinds of pictures. Say target_data=…, what data may be.")
        found = load(
            config.target_data,
            task="image-generation",  # pictures, with classes where there are any
            data_dir=config.data_dir,
            validation=config.validation if isinstance(config.validation, float) else 0.1,
            test=config.test,
            seed=config.seed,
        )
        if found.labels not in (None, self.data.labels):
            raise ValueError(
                f"The target must have the classes of the source, {', '.join(self.data.labels[:10])}. "
                f"{found.name!r} has: {', '.join(found.labels[:10])}."
            )
        return found

    def preprocessing(self, model):
        found = super().preprocessing(model)
        if self.config.channels is None and isinstance(model, str) and self.config.weights is None:
            # Of grey and coloured pictures both are read as coloured ones.
            found = dataclasses.replace(found, channels=max(found.channels, self.target.image_shape[-1]))
        return found

    def adopt(self, model):
        super().adopt(model)
        self.first_weights = model.get_weights()

    def make_answer(self, model):
        answer = super().make_answer(model)
        if model.output_shape[-1] == 1:
            raise ValueError(f"{model.name!r} has one output for two classes. Accepted: one for each class.")
        return answer

    def in_training(self, network, preprocessing):
        seeing = with_features(network)
        self.head = domain_head(seeing.outputs[0].shape[1:], self.config.domain_sizes)
        return AdaptingTraining(seeing, self.head, super().loss()), lambda x, y: ((x, y), y)

    def training_part(self, name, preprocessing):
        theirs = name if self.target.sizes.get(name) else "train"
        target = self._as_source().part(theirs, preprocessing, self.encode)
        return Pairs(super().training_part(name, preprocessing), target)

    def _as_source(self):
        """The target as what a classifier is trained on."""
        return ImageClassification(self.target, self.config)

    def loss(self):
        return parts_of_loss.SumOfParts([1.0, 1.0, 0.0, 0.0])

    def metrics(self):
        return parts_of_loss.parts(*PARTS)

    def class_weights(self):
        return Task.class_weights(self)  # none: the classes are not what the network in training answers

    def augment(self, preprocessing):
        if not self.config.augment:
            return None
        return Augmentation(self.config.augment, 0.0, 0.0, self.config.seed, preprocessing)

    def callbacks(self, bundle):
        steps = -(-self.data.sizes["train"] // self.config.batch_size)
        return [AdaptationSchedule(self.head, self.config.adaptation, self.config.epochs, steps)]

    @property
    def tested_on(self) -> Data:
        """The target where its classes are known, else the source."""
        return self.data if self.target.labels is None else self.target

    def examples(self):
        return sample(self.tested_on, self.config.seed)

    def licenses(self):
        return [*super().licenses(), licenses.of_data(self.target)]

    def answers(self, bundle):
        """Those on the target's test part; and what else `figures` and the picture of the features need."""
        source_answers, source_truth = super().answers(bundle)
        found = {"source_right": source_answers["class_ids"] == source_truth}
        others = self._compared() if self.config.compare else {}
        for name, other in others.items():
            theirs, truth = self._as_source().answers(other)
            found[f"{name}_right"] = theirs["class_ids"] == truth
        for name, other in {"adapted": bundle, **{k: v for k, v in others.items() if k == SOURCE_ONLY}}.items():
            found[f"{name}_features"] = self._features(other)
        if self.target.labels is None:
            return {**source_answers, **found}, source_truth
        answers, truth = self._as_source().answers(bundle)
        return {**answers, **found}, truth

    def figures(self, answers, y):
        found = {"source_accuracy": float(answers["source_right"].mean())}
        if self.target.labels is not None:
            found = {"accuracy": float(np.mean(answers["class_ids"] == y)), **found}
        for name in (SOURCE_ONLY, TARGET_TRAINED):
            if f"{name}_right" in answers:
                found[f"{name}_accuracy"] = float(answers[f"{name}_right"].mean())
        return found

    def _compared(self) -> dict[str, Bundle]:
        """The same network, from the same first weights, trained by the source alone and by the target's classes."""
        if self.target.labels is None:
            return {}
        for name, data in ((SOURCE_ONLY, self.data), (TARGET_TRAINED, self.target)):
            if not (self.folder / name).exists():
                model = keras.models.clone_model(self.model)
                model.set_weights(self.first_weights)
                train(ImageClassification, model, data, self._config_of(name))
        return {name: load_run(self.folder / name).bundle for name in (SOURCE_ONLY, TARGET_TRAINED)}

    def _config_of(self, name):
        own = {"run_dir": str(self.folder / name), "verbose": False}
        own |= {"overwrite": False, "resume": False, "override": False}
        own |= {"model_args": {}, "dropout": None, "weights": None}
        names = {field.name for field in dataclasses.fields(self.config)}
        shared = [field.name for field in dataclasses.fields(ImageConfig) if field.name in names]
        return ImageConfig(**{**{shared_name: getattr(self.config, shared_name) for shared_name in shared}, **own})

    def _features(self, bundle):
        """Of as many pictures of the source as of the target, one set behind the other, `(2 n, k)`."""
        network, found = with_features(bundle.model), []
        parts = [(super(), self.data), (self._as_source(), self.target)]
        count = min(PICTURED, *(data.sizes[data.evaluated_on] for _, data in parts))
        for task, data in parts:
            part = task.part(data.evaluated_on, bundle.preprocessing, lambda y: y)
            pictures = np.concatenate([x for x, _ in part.batches(count).take(1).as_numpy_iterator()])
            found.append(network.predict_on_batch(pictures)[0].reshape(count, -1))
        return np.concatenate(found).astype(np.float32)


def with_features(network: keras.Model) -> keras.Model:
    """The network with two outputs: the features of its last stage, or what enters its last layer, and its own."""
    stages = list(zoo.stages(network))
    last = network.get_layer(stages[-1]).output if stages else network.layers[-1].input
    return keras.Model(network.inputs[0], [last, network.outputs[0]], name=f"{network.name}_with_features")
