"""YOLO, the first one.

Redmon, Divvala, Girshick, Farhadi, "You Only Look Once: Unified, Real-Time Object Detection", CVPR (2016), §2 and
figure 3. A grid lies over the picture, and each of its cells says what it sees in one pass:

    stage   output (448x448 input)   convolutions, each with leaky ReLU (0.1), and 2x2 max-pooling
    1       112x112                  7x7 to 64 with stride 2; pool
    2        56x56                   3x3 to 192; pool
    3        28x28                   1x1 to 128, 3x3 to 256, 1x1 to 256, 3x3 to 512; pool
    4        14x14                   4 times (1x1 to 256, 3x3 to 512), 1x1 to 512, 3x3 to 1024; pool
    5         7x7                    2 times (1x1 to 512, 3x3 to 1024), 3x3 to 1024, 3x3 to 1024 with stride 2
    6         7x7                    3x3 to 1024, 3x3 to 1024
    head                             fully connected to 4096, dropout; fully connected to 7x7x(2 * 5 + 20)

Of each cell the head says for B = 2 predictors (x, y, root of the width, root of the height, confidence) and then the
classes. There is no activation at the end: the loss, eq. 3, is a sum of squares (`zoo.detection_losses`), of what the
layer `logits` gives. The network gives boxes and their scores, §2: probability of the class times confidence.

The small one learns on a CPU in minutes: batch normalisation, as YOLO had from its second version on, and a
convolution as its head, so that its grid grows with the picture:

    stage   output (128x128 input)   convolutions and 2x2 max-pooling
    1        64x64                   3x3 to 16; pool
    2        32x32                   3x3 to 32; pool
    3        16x16                   3x3 to 64; pool
    4         8x8                    3x3 to 128; pool
    5         8x8                    3x3 to 256, 3x3 to 256
    head                             1x1 to 2 * 5 + classes
"""

import functools
import math

import keras
from keras import layers, ops

from zoo import boxes as bx
from zoo.registry import check_count, variant

POOL = "pool"
FIGURE_3 = (
    ((7, 64, 2), POOL),
    ((3, 192), POOL),
    ((1, 128), (3, 256), (1, 256), (3, 512), POOL),
    (*((1, 256), (3, 512)) * 4, (1, 512), (3, 1024), POOL),
    (*((1, 512), (3, 1024)) * 2, (3, 1024), (3, 1024, 2)),
    ((3, 1024), (3, 1024)),
)
SMALL = (
    ((3, 16), POOL),
    ((3, 32), POOL),
    ((3, 64), POOL),
    ((3, 128), POOL),
    ((3, 256), (3, 256)),
)

PAPER = "Redmon et al., You Only Look Once: Unified, Real-Time Object Detection, 2016"
TINY = {
    "input_shape": (64, 64, 3),
    "num_classes": 3,
    "stages": (((3, 8, 2), POOL), ((3, 16), POOL), ((1, 8), (3, 16, 2))),
    "hidden_units": 48,
    "dropout": 0.0,
}
TINY_SMALL = {
    "input_shape": (32, 32, 3),
    "num_classes": 3,
    "stages": (((3, 8), POOL), ((3, 16), POOL), ((3, 16), POOL)),
}


@keras.saving.register_keras_serializable("zoo")
class GridBoxes(layers.Layer):
    """What a grid says, as boxes and scores: `(batch, rows, columns, B * 5 + C)` → `(batch, rows * columns * B, C, 5)`.

    The last axis is `(y_min, x_min, y_max, x_max, score)`, float32: the box, cut off at the picture's border, in 0..1
    of its height and width, and the probability of the class times the confidence, in 0..1. Every class has the same
    box. Redmon et al., "You Only Look Once" (2016), §2.

    Args:
        boxes_per_cell: B.
    """

    def __init__(self, boxes_per_cell, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.boxes_per_cell = boxes_per_cell
        self.built = True

    def call(self, grid):
        rows, columns, width = grid.shape[1:]
        grid = ops.cast(grid, "float32")
        count = 5 * self.boxes_per_cell
        predictions = ops.reshape(grid[..., :count], (-1, rows, columns, self.boxes_per_cell, 5))
        boxes = bx.clip(bx.decode_in_cells(predictions[..., :4]))[..., None, :]
        # Both are learned as plain numbers, which may leave 0..1.
        scores = ops.clip(predictions[..., 4:], 0, 1) * ops.clip(grid[..., None, count:], 0, 1)
        boxes = ops.broadcast_to(boxes, (*ops.shape(scores), 4))
        candidates = ops.concatenate([boxes, scores[..., None]], axis=-1)
        return ops.reshape(candidates, (-1, rows * columns * self.boxes_per_cell, width - count, 5))

    def compute_output_shape(self, grid_shape):
        batch, rows, columns, width = grid_shape
        return (batch, rows * columns * self.boxes_per_cell, width - 5 * self.boxes_per_cell, 5)

    def compute_output_spec(self, grid):
        return keras.KerasTensor(self.compute_output_shape(grid.shape), dtype="float32")

    def get_config(self):
        return {**super().get_config(), "boxes_per_cell": self.boxes_per_cell}


def _stage(x, table, batch_normalization, *, name):
    """Convolutions and pooling as a row of the table has them; the last layer bears the stage's name."""
    for j, entry in enumerate(table, 1):
        last = j == len(table)
        if entry == POOL:
            x = layers.MaxPooling2D(2, padding="same", name=name if last else f"{name}_pool{j}")(x)
            continue
        kernel_size, maps, *stride = entry
        x = layers.Conv2D(
            maps,
            kernel_size,
            *stride,
            padding="same",
            use_bias=not batch_normalization,
            kernel_initializer="he_normal",
            name=f"{name}_conv{j}",
        )(x)
        if batch_normalization:
            x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn{j}")(x)
        x = layers.LeakyReLU(0.1, name=name if last else f"{name}_relu{j}")(x)
    return x


def _fully_connected(maps, hidden_units, dropout, numbers):
    rows, columns = maps.shape[1:3]
    x = layers.Flatten(name="head_flatten")(maps)
    x = layers.Dense(hidden_units, kernel_initializer="he_normal", name="head_fc")(x)
    x = layers.LeakyReLU(0.1, name="head_relu")(x)
    if dropout:
        x = layers.Dropout(dropout, name="head_dropout")(x)
    return layers.EinsumDense(
        "bf,fyxn->byxn",
        (rows, columns, numbers),
        bias_axes="yxn",
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.1 / math.sqrt(hidden_units)),
        dtype="float32",
        name="logits",
    )(x)


def yolo(
    input_shape=(448, 448, 3),
    num_classes=20,
    *,
    stages=FIGURE_3,
    boxes_per_cell=2,
    batch_normalization=False,
    hidden_units=4096,
    dropout=0.5,
    include_top=True,
    name,
):
    """A network of one of the tables.

    Args:
        input_shape: `(height, width, channels)`, at least one cell of the grid. Sizes that the strides do not divide
            are padded; the grid lies evenly over the picture all the same.
        num_classes: kinds of objects.
        stages: of each stage the convolutions, as (kernel size, maps) or (kernel size, maps, stride), and "pool".
        boxes_per_cell: predictors of each cell.
        batch_normalization: whether one stands in place of the biases of the convolutions.
        hidden_units: width of the hidden layer of the head, which then sees the whole picture; 0 for a 1x1 convolution.
        dropout: rate of dropout behind the hidden layer.
        include_top: `False` gives the maps of the last stage.
        name: name of the model.

    Returns:
        `image` float32 `(batch, *input_shape)` → candidates float32 `(batch, cells * boxes_per_cell, num_classes, 5)`:
        `(y_min, x_min, y_max, x_max)` in 0..1 of the picture's height and width, and the score in 0..1. They overlap:
        `boxes.non_max_suppression` chooses among them. The layer `logits` gives the grid that is trained, float32
        `(batch, rows, columns, boxes_per_cell * 5 + num_classes)`.
    """
    check_count(name, "boxes_per_cell", boxes_per_cell)
    if not stages or not all(stages):
        raise ValueError(f"stages of {name!r} must each hold at least one layer. Received: {stages!r}.")
    image = keras.Input(input_shape, name="image")
    x = image
    for i, table in enumerate(stages, 1):
        x = _stage(x, table, batch_normalization, name=f"stage{i}")
    if include_top:
        numbers = 5 * boxes_per_cell + num_classes
        if hidden_units:
            x = _fully_connected(x, hidden_units, dropout, numbers)
        else:
            start = keras.initializers.RandomNormal(stddev=0.1 / math.sqrt(x.shape[-1]))
            x = layers.Conv2D(numbers, 1, kernel_initializer=start, dtype="float32", name="logits")(x)
        x = GridBoxes(boxes_per_cell, dtype="float32", name="candidates")(x)
    return keras.Model(image, x, name=name)


_member = functools.partial(variant, yolo, task="object-detection", paper=PAPER)

yolo_v1 = _member(
    "yolo_v1",
    "Twenty-four convolutions and two fully connected layers that see all objects of a picture at once.",
    tiny=TINY,
    min_size=64,
)
yolo_v1_small = _member(
    "yolo_v1_small",
    "Six convolutions that see all objects of a small picture at once, in every cell of a grid.",
    {
        "input_shape": (128, 128, 3),
        "num_classes": 10,
        "stages": SMALL,
        "batch_normalization": True,
        "hidden_units": 0,
        "dropout": 0.0,
    },
    tiny=TINY_SMALL,
    min_size=16,
)
