"""LSTMs in one operation, `BlockLSTMV2`, in place of a loop of many.

Keras lets a backend have a faster LSTM than its loop. TensorFlow's own needs a GPU; within `block_lstm()` this one
takes its place. It is used while a graph is traced: in a graph that is there, an LSTM is a loop like any other.
"""

import contextlib
from collections.abc import Iterator
from unittest import mock

import keras
import tensorflow as tf
from keras.src import backend

_OP = tf.raw_ops.BlockLSTMV2


@contextlib.contextmanager
def block_lstm() -> Iterator[None]:
    """Within the block, Keras' LSTMs are traced to `BlockLSTMV2` where that computes the same."""
    with mock.patch.object(backend, "lstm", _lstm):
        yield


def has_lstm(model: keras.Model) -> bool:
    """Whether there is an LSTM in a model, whatever it is wrapped in."""
    return any(isinstance(layer, keras.layers.LSTM) for layer in model._flatten_layers())


def _lstm(
    inputs,
    initial_state_h,
    initial_state_c,
    mask,
    kernel,
    recurrent_kernel,
    bias,
    activation,
    recurrent_activation,
    return_sequences=False,
    go_backwards=False,
    unroll=False,
):
    """As `keras.src.backend.tensorflow.rnn.lstm`: `(batch, time, features)` → last output, outputs, [h, c].

    A step that the mask leaves out leaves the state as it is. So the steps that count are moved to the front, and what
    stands behind the last of them is not looked at.

    Raises:
        NotImplementedError: other gates. It is how a backend tells Keras to compute them in a loop.
    """
    same_gates = activation is keras.activations.tanh and recurrent_activation is keras.activations.sigmoid
    if not same_gates or bias is None or inputs.dtype != tf.float32:
        raise NotImplementedError
    if go_backwards:
        inputs, mask = tf.reverse(inputs, [1]), None if mask is None else tf.reverse(mask, [1])
    steps = tf.shape(inputs)[1]
    if mask is not None:
        # After each step, how many have counted.
        counted = tf.cumsum(tf.cast(mask, tf.int32), axis=1)
        steps = tf.reduce_max(counted)
        order = tf.argsort(tf.cast(mask, tf.int32), axis=1, direction="DESCENDING", stable=True)
        inputs = tf.gather(inputs, order[:, :steps], batch_dims=1)
    steps = tf.where(tf.shape(inputs)[0] > 0, steps, 0)  # of no rows, a step would end the process

    units = recurrent_kernel.shape[0]
    no_peephole = tf.zeros([units])
    found = _OP(
        seq_len_max=tf.cast(steps, tf.int64),
        x=tf.transpose(inputs, [1, 0, 2]),
        cs_prev=initial_state_c,
        h_prev=initial_state_h,
        w=tf.concat([tf.convert_to_tensor(kernel), tf.convert_to_tensor(recurrent_kernel)], 0),
        wci=no_peephole,
        wcf=no_peephole,
        wco=no_peephole,
        b=tf.convert_to_tensor(bias),
    )
    if mask is None:
        hidden, cell = found.h[-1], found.cs[-1]
        outputs = tf.transpose(found.h, [1, 0, 2]) if return_sequences else hidden[:, tf.newaxis]
        return hidden, outputs, [hidden, cell]

    def states(first, later):
        return tf.concat([first[:, tf.newaxis], tf.transpose(later, [1, 0, 2])], 1)

    # Before the first step that counts Keras' output is zero, whatever the state is.
    hidden_states, cell_states = states(initial_state_h, found.h), states(initial_state_c, found.cs)
    asked = counted if return_sequences else counted[:, -1:]
    outputs = tf.gather(states(tf.zeros_like(initial_state_h), found.h), asked, batch_dims=1)
    hidden, cell = (tf.gather(each, counted[:, -1], batch_dims=1) for each in (hidden_states, cell_states))
    return outputs[:, -1], outputs, [hidden, cell]
