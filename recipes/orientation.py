"""Which way up a photograph is: what a camera writes into its JPEG file, read and followed by TensorFlow operations.

A camera that was held sideways stores what its sensor saw, and in the file's EXIF a number from 1 to 8 that tells how
the first row and column lie to the eye (Exif 2.32, CIPA DC-008, §4.6.5, "Orientation"). TensorFlow decodes the pixels
and leaves that number where it is. As all of this is operations of the graph, an exported model can follow it, too.

    number   first row is   first column is   to see it upright
    1        top            left              nothing
    2        top            right             mirror left and right
    3        bottom         right             turn by 180°
    4        bottom         left              mirror top and bottom
    5        left           top               transpose
    6        right          top               turn by 90° clockwise
    7        right          bottom            transpose along the other diagonal
    8        left           bottom            turn by 90° counterclockwise
"""

import tensorflow as tf

UPRIGHT = 1
LAST = 8
TRANSPOSED = 5
"""From this number on, height and width change places."""

HEADER = 2**16
"""Bytes of a file in which EXIF is looked for."""

MOST_SEGMENTS = 64
"""Segments in front of EXIF that are passed over. There is hardly ever more than one."""

EXIF = b"Exif\0\0"
_APP1, _START_OF_SCAN, _END = 0xE1, 0xDA, 0xD9
_SEGMENT = 10  # bytes of a marker, a length and the name EXIF
_START, _ENTRY = 4, 12  # of a TIFF file, and of its directory
_TAG = 0x0112
_SIZES = {3: 2, 4: 4}  # bytes of SHORT, which is the standard's, and of LONG, which some programs write


# Traced once, however many graphs it becomes a part of.
@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def orientation(encoded: tf.Tensor) -> tf.Tensor:
    """The orientation that the EXIF of a JPEG file tells.

    That of the first picture's first EXIF segment (APP1) counts, where it begins within 64 KiB; neither XMP nor other
    formats' metadata are read. A file without EXIF costs little: one search for the six bytes that it begins with.

    Args:
        encoded: the file, a scalar string: any bytes at all.

    Returns:
        int32 scalar, 1..8; 1, upright, where the file tells nothing, tells something else, or is damaged or no JPEG.
    """
    return tf.cond(tf.io.is_jpeg(encoded), lambda: _of_jpeg(encoded), lambda: UPRIGHT)


def upright(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turn and mirror a picture so that it is seen as it was taken.

    Args:
        pixels: `(h, w, c)`, of any dtype, as they are stored.
        orientation: int32 scalar; any other number than 2..8 leaves the picture as it is.

    Returns:
        `(h, w, c)`, from 5 on `(w, h, c)`.
    """
    orientation = tf.convert_to_tensor(orientation)

    def turned():
        axes = tf.where(orientation >= TRANSPOSED, [1, 0, 2], [0, 1, 2])
        from_bottom, from_right = (tf.reduce_any(orientation == numbers) for numbers in ([3, 4, 7, 8], [2, 3, 6, 7]))
        return tf.reverse(tf.transpose(pixels, axes), tf.boolean_mask([0, 1], [from_bottom, from_right]))

    result = tf.cond((orientation > UPRIGHT) & (orientation <= LAST), turned, lambda: pixels)
    return tf.ensure_shape(result, [None, None, pixels.shape[-1]])


def upright_size(size: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Height and width of what `upright` gives, int32 `(2,)`, of those of what it gets."""
    # Not size[::-1]: there TensorFlow's optimizer fails when it looks for shapes, and leaves the whole graph as it is.
    return tf.where((orientation >= TRANSPOSED) & (orientation <= LAST), tf.reverse(size, [0]), size)


def _of_jpeg(encoded):
    header = tf.strings.substr(encoded, 0, HEADER)
    without = tf.strings.regex_replace(header, EXIF, "", replace_global=False)
    may_tell = tf.strings.length(without) < tf.strings.length(header)
    return tf.cond(may_tell, lambda: _told(_exif(tf.io.decode_raw(header, tf.uint8))), lambda: UPRIGHT)


def _exif(file):
    """The content of the first EXIF segment of a JPEG, bytes `(n,)`: none where there is no such segment."""

    def segment(at):
        return tf.cast(_window(file[at : at + _SEGMENT], _SEGMENT), tf.int32)

    def is_exif(begin):
        return (begin[1] == _APP1) & tf.reduce_all(begin[4:] == list(EXIF))

    def is_another(at, begin):
        return (begin[0] == 0xFF) & (begin[1] != _START_OF_SCAN) & (begin[1] != _END) & ~is_exif(begin)

    def after(at, begin):
        filled = begin[1] == 0xFF  # any number of these may stand before a marker
        at = tf.where(filled, at + 1, at + 2 + _number(begin[2:4]))
        return at, segment(at)

    at, begin = tf.while_loop(is_another, after, (2, segment(2)), maximum_iterations=MOST_SEGMENTS)
    end = at + 2 + _number(begin[2:4])
    return file[at + _SEGMENT : tf.where((begin[0] == 0xFF) & is_exif(begin), end, 0)]


def _told(exif):
    """The orientation in the first directory of EXIF, which is laid out as a TIFF file."""
    exif = tf.cast(exif, tf.int64)
    little, big = (tf.reduce_all(_window(exif, _START) == list(start)) for start in (b"II*\0", b"MM\0*"))
    begin = _number(exif[4:8], little)
    count = _number(exif[begin : begin + 2], little)
    entries = exif[begin + 2 : begin + 2 + _ENTRY * count]
    entries = tf.reshape(entries[: tf.size(entries) // _ENTRY * _ENTRY], [-1, _ENTRY])
    entries = tf.boolean_mask(entries, _number(entries[:, :2], little) == _TAG)
    entry = _window(tf.reshape(entries, [-1]), _ENTRY)
    kind, numbers = _number(entry[2:4], little), _number(entry[4:8], little)
    size = tf.reduce_sum(tf.where(kind == list(_SIZES), list(_SIZES.values()), 0))
    value = tf.cast(_number(entry[8 : 8 + size], little), tf.int32)
    is_legal = (little | big) & (numbers == 1) & (value >= UPRIGHT) & (value <= LAST)
    return tf.where(is_legal, value, UPRIGHT)


def _window(data, size):
    """The first so many bytes; zeros where there are none."""
    return tf.concat([data[:size], tf.zeros([size], data.dtype)], 0)[:size]


def _number(data, little=False):
    """Bytes `(..., n)`, as numbers, of the most or the least significant first → their number."""
    exponents = tf.range(tf.shape(data)[-1])
    exponents = tf.where(little, exponents, exponents[::-1])
    return tf.reduce_sum(data * tf.cast(256, data.dtype) ** tf.cast(exponents, data.dtype), -1)
