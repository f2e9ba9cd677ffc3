"""What the tasks that read pictures have together: the size that data and model agree on."""

import dataclasses

import tensorflow as tf

import zoo
from recipes import initial_weights
from recipes.pipeline import Reading
from recipes.preprocessing import ImagePreprocessing
from recipes.tasks.task import Task, input_shape_of

DEFAULT_RESIZE = "bilinear"


class PictureTask(Task):
    """Pictures, scaled to 0..1, at the size that data and model agree on."""

    def preprocessing(self, model):
        if self.data.kind != "image":
            raise ValueError(
                f"{self.data.name!r} holds no pictures but a table of {len(self.data.columns)} columns. "
                "For tables there are the tasks binary-classification and regression (--task)."
            )
        if isinstance(model, str) and self.config.weights is not None:
            return self._of_weights(model)
        height, width, channels = self._named_shape(model) if isinstance(model, str) else self._model_shape(model)
        return ImagePreprocessing(height, width, channels, resize=self.config.resize or DEFAULT_RESIZE)

    def _of_weights(self, name):
        """What belongs to the weights that training begins with; to a weights file, what it would be without them."""
        wanted = initial_weights.preprocessing_of(name, self.config.weights, ImagePreprocessing)
        if wanted is None:
            return ImagePreprocessing(*self._named_shape(name), resize=self.config.resize or DEFAULT_RESIZE)
        of_weights = (wanted.height, wanted.width) if wanted.height else self._named_shape(name)[:2]
        height, width = self.config.image_size or of_weights
        wanted = dataclasses.replace(wanted, height=height, width=width, resize=self.config.resize or wanted.resize)
        return wanted.with_channels(self.config.channels or wanted.channels)

    def _named_shape(self, name):
        *own, channels = self.data.image_shape
        spec = zoo.spec(name)
        default = spec.arguments["input_shape"]
        fits = len(default) == 3 and None not in own and min(own) >= max(spec.min_size, 1)
        size = self.config.image_size or (own if fits else default[:2])
        if None in size:
            raise several_sizes(name, self.data.name)
        return (*size, self.config.channels or channels)

    def _model_shape(self, model):
        shape = input_shape_of(model)
        if len(shape) != 3 or shape[-1] not in (1, 3, 4):
            raise ValueError(f"{model.name!r} takes {shape}. Accepted: (height, width, channels), 1, 3 or 4 channels.")
        wanted = (*(self.config.image_size or (None, None)), self.config.channels)
        for what, own, asked in zip(("height", "width", "channels"), shape, wanted, strict=True):
            if own is not None and asked not in (None, own):
                raise ValueError(
                    f"{model.name!r} takes a {what} of {own}. Received: {asked}. Accepted: {own}, or none."
                )
        height, width, channels = (n or w or d for n, w, d in zip(shape, wanted, self.data.image_shape, strict=True))
        if None in (height, width):
            raise several_sizes(model.name, self.data.name)
        return height, width, channels


class AnnotatedPictureTask(PictureTask):
    """Pictures with a mask or boxes, which belong to the pixels as they are stored, whatever EXIF says of them."""

    def reading(self, preprocessing, encode):
        return Reading(lambda x, y: (preprocessing.one(self.stored(x, preprocessing)), encode(y)))

    def stored(self, x, preprocessing):
        """A raw picture's pixels in 0..255."""
        return preprocessing.decode(x) if x.dtype == tf.string else self.levels(x)


def several_sizes(model: str, data: str) -> ValueError:
    """What to say where neither the model nor the data has one size."""
    return ValueError(f"{model!r} takes pictures of any size and {data!r} has several sizes: say image_size.")
