"""The size of an encoded picture, read off its first bytes where it is a PNG or a JPEG, in operations of TensorFlow."""

import tensorflow as tf

from recipes.orientation import orientation, upright_size

PNG = b"\x89PNG"
PNG_SIZE = 16  # its first bytes: width and height, 32 bits each, the highest byte first


# Traced once, however many graphs it becomes a part of.
@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def size_of(encoded: tf.Tensor) -> tf.Tensor:
    """Height and width in pixels, int32 `(2,)`, of one picture as it is seen: see `recipes.orientation`."""
    return tf.cond(
        tf.strings.substr(encoded, 0, len(PNG)) == PNG,
        lambda: _of_png(encoded),
        lambda: tf.cond(
            tf.io.is_jpeg(encoded),
            lambda: upright_size(tf.ensure_shape(tf.image.extract_jpeg_shape(encoded)[:2], [2]), orientation(encoded)),
            lambda: tf.shape(tf.io.decode_image(encoded, expand_animations=False))[:2],
        ),
    )


def sizes_of(encoded: tf.Tensor) -> tf.Tensor:
    """The same of a batch, string `(batch,)` → int32 `(batch, 2)`."""
    return tf.map_fn(size_of, encoded, fn_output_signature=tf.TensorSpec([2], tf.int32), name="sizes")


def _of_png(encoded):
    width, height = tf.unstack(
        tf.io.decode_raw(tf.strings.substr(encoded, PNG_SIZE, 8), tf.int32, little_endian=False), 2
    )
    return tf.stack([height, width])
