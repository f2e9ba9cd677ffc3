"""What depends on the backend of Keras, on which the network alone is computed: data and answers are TensorFlow's."""

import keras
import tensorflow as tf

TENSORFLOW, JAX = "tensorflow", "jax"


def name() -> str:
    """The backend of this process: KERAS_BACKEND, or what Keras' own settings say."""
    return keras.backend.backend()


def check(what: str, *accepted: str) -> None:
    """Raise ValueError unless the backend is one of those accepted.

    Args:
        what: is to be done, for the message.
        accepted: backends; none: TensorFlow.
    """
    accepted = accepted or (TENSORFLOW,)
    if name() not in accepted:
        raise ValueError(
            f"{what} needs Keras on {' or '.join(accepted)}. Received: {name()}. Accepted: KERAS_BACKEND={accepted[0]}."
        )


def called(model: keras.Model, inputs: tf.Tensor | list[tf.Tensor]) -> tf.Tensor:
    """What a model gives, amid operations of TensorFlow, traced or not.

    Another backend is called from within the graph, which can then not be saved.

    Args:
        model: of one output.
        inputs: what it takes, several as a list.
    """
    if name() == TENSORFLOW:
        # training=False is said aloud: left to itself, an augmentation layer inside the model stays on in an export.
        return model(inputs, training=False)

    def predicted(*arrays):
        return model.predict_on_batch([*arrays] if len(arrays) > 1 else arrays[0])

    output = model.outputs[0]
    given = tf.numpy_function(predicted, tf.nest.flatten(inputs), output.dtype)
    return tf.ensure_shape(given, output.shape)


def build(trained: keras.Model, batches: tf.data.Dataset) -> None:
    """Give a compiled model, its metrics and optimizer their variables, which `fit` does in its first step.

    Args:
        trained: the model.
        batches: that it reads. Of sequences JAX is shown one: it cannot compare lengths that are not known.
    """
    unknown = any(None in spec.shape[1:] for spec in tf.nest.flatten(batches.element_spec))
    trained._symbolic_build(data_batch=next(iter(batches)) if unknown and name() == JAX else batches.element_spec)


def bring_weights_up_to_date(trained: keras.Model) -> None:
    """Give a model in training its weights and its optimizer's state: between two steps JAX has them elsewhere."""
    if name() == JAX:
        trained.jax_state_sync()
