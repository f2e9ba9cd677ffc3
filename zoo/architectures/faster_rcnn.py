"""Faster R-CNN on a feature pyramid.

Ren, He, Girshick, Sun, "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks" (2015), with
Lin, Dollár, Girshick, He, Hariharan, Belongie, "Feature Pyramid Networks for Object Detection", CVPR (2017), and
RoIAlign of He et al., "Mask R-CNN" (2017), in torchvision's layout:

    backbone   residual network: stage1 … stage4, of strides 4, 8, 16, 32
    pyramid    fpn_level2 … fpn_level5, 256 maps each: 1x1 convolution of the stage, plus the level above made twice as
               large (nearest), then a 3x3 convolution; fpn_level6: every second place of fpn_level5
    first      on every level the same 3x3 convolution to 256 maps, ReLU; from these 1x1 convolutions:
    stage      rpn_objectness, a logit for each of 3 anchors a place; rpn_deltas, 4 numbers for each
               proposals: of each level the 1000 likeliest anchors, moved; of those that overlap by more than 0.7 the
               likelier one; of all levels together the 1000 likeliest
    second     roi_head: RoIAlign of levels 2 to 5 to 7x7, two hidden layers of 1024 units with ReLU;
    stage      from these a logit for background and each class, and 4 numbers for each
               candidates: the box of each class for each proposal, and its probability

Anchors are 32 pixels large on level 2 and twice as large on each level above, with aspect ratios 1:2, 1:1 and 2:1. A
stage of the backbone halves the maps in its first 1x1 convolution, as in the paper of residual networks; torchvision's
does in the 3x3 convolution behind it.

The small one learns on a CPU in minutes. Its backbone is narrow and has basic blocks, its pyramid 64 maps and no level
6, its anchors are 12 pixels large on level 2, its second stage is 256 units wide and sees 64 proposals.

Both are trained by the losses of `zoo.detection_losses`, on what named layers give and on what the model `roi_head`
answers for sampled proposals (`zoo.matching`). All boxes are in 0..1 of the picture's height and width.
"""

import functools

import keras
import numpy as np
from keras import initializers, layers, ops

from zoo import boxes as bx
from zoo.architectures.resnet import TORCHVISION, WIDTHS, basic, bottleneck, residual_network
from zoo.registry import check_count, variant
from zoo.roi_align import MultiScaleRoIAlign

LOWEST = 2
"""Level of the first stage, whose stride is 4."""
LEAST_SIDE = 1e-3
"""Of a proposal, in pixels, as in torchvision."""

PAPER = "Ren et al., Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks, 2015"
TINY = {
    "input_shape": (32, 32, 3),
    "num_classes": 3,
    "blocks": (1, 1),
    "widths": (8, 16),
    "pyramid_maps": 16,
    "anchor_sizes": ((8,), (16,)),
    "hidden_units": 64,
    "bins": 3,
    "candidates_per_level": 32,
    "proposals": 8,
}


@keras.saving.register_keras_serializable("zoo")
class RegionProposals(layers.Layer):
    """The likeliest anchors, where the first stage has moved them: Ren et al., "Faster R-CNN" (2015), §3.3.

    It takes logits `(batch, a)` and deltas `(batch, a, 4)` of all `a` anchors, level by level, and gives float32
    `(batch, count, 4)`: boxes in 0..1 of the picture's height and width, the likeliest first, without a gradient. Where
    there are fewer, empty boxes follow. As many as are wanted for training can differ from those for inference:
    `RegionProposals.from_config({**layer.get_config(), "count": 2000})` calls for it on the same tensors.

    Args:
        picture_size: height and width in pixels.
        map_sizes: (height, width) of every level.
        strides: pixels from one place of each level to the next.
        sizes: of each level the sizes of the anchors, in pixels.
        aspect_ratios: height divided by width.
        candidates_per_level: how many of each level take part.
        count: how many are proposed.
        overlap: of proposals of one level that overlap by more than this the likelier one is left.
    """

    def __init__(
        self,
        picture_size,
        map_sizes,
        strides,
        sizes,
        aspect_ratios,
        candidates_per_level=1000,
        count=1000,
        overlap=0.7,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)  # boxes are not to be rounded to 16 bits
        self.picture_size = tuple(picture_size)
        self.map_sizes = [tuple(size) for size in map_sizes]
        self.strides = list(strides)
        self.sizes = [tuple(of_level) for of_level in sizes]
        self.aspect_ratios = tuple(aspect_ratios)
        self.candidates_per_level, self.count, self.overlap = candidates_per_level, count, overlap
        self._unit = np.array([*self.picture_size, *self.picture_size], "float32")
        self._of_levels = [
            bx.anchors(map_size, stride, of_level, self.aspect_ratios) / self._unit
            for map_size, stride, of_level in zip(self.map_sizes, self.strides, self.sizes, strict=True)
        ]
        self.built = True

    @property
    def anchors(self):
        """All anchors, level by level, NumPy float32 `(a, 4)` in 0..1 of the picture's height and width."""
        return np.concatenate(self._of_levels)

    def call(self, objectness, deltas):
        objectness = ops.stop_gradient(ops.cast(objectness, "float32"))
        deltas = ops.stop_gradient(ops.cast(deltas, "float32"))
        boxes, scores, shifts, first = [], [], [], 0
        for level, anchors in enumerate(self._of_levels):
            of_level = slice(first, first + len(anchors))
            first += len(anchors)
            likely, ids = ops.top_k(objectness[:, of_level], min(self.candidates_per_level, len(anchors)))
            ids = ops.cast(ids, "int32")
            moves = ops.take_along_axis(deltas[:, of_level], ids[:, :, None], axis=1)
            boxes.append(bx.clip(bx.decode(moves, ops.take(anchors, ids, axis=0))))
            scores.append(likely)
            shifts.append(ops.full_like(likely, 2 * level))  # where no other level's boxes are
        boxes, scores = ops.concatenate(boxes, axis=1), ops.concatenate(scores, axis=1)
        sides = (boxes[..., 2:] - boxes[..., :2]) * self._unit[2:]
        scores = ops.where(ops.all(sides >= LEAST_SIDE, axis=-1), scores, -np.inf)
        shifted = boxes + ops.concatenate(shifts, axis=1)[:, :, None]
        ids = bx.non_max_suppression(shifted, scores, self.count, self.overlap)
        proposals = ops.take_along_axis(boxes, ops.maximum(ids, 0)[:, :, None], axis=1)
        return proposals * ops.cast(ids >= 0, "float32")[:, :, None]

    def compute_output_shape(self, objectness_shape, deltas_shape):
        return (objectness_shape[0], self.count, 4)

    def compute_output_spec(self, objectness, deltas):
        return keras.KerasTensor(self.compute_output_shape(objectness.shape, deltas.shape), dtype="float32")

    def get_config(self):
        return {
            **super().get_config(),
            "picture_size": self.picture_size,
            "map_sizes": self.map_sizes,
            "strides": self.strides,
            "sizes": self.sizes,
            "aspect_ratios": self.aspect_ratios,
            "candidates_per_level": self.candidates_per_level,
            "count": self.count,
            "overlap": self.overlap,
        }


@keras.saving.register_keras_serializable("zoo")
class RegionBoxes(layers.Layer):
    """What the second stage says of every proposal, as boxes and scores.

    It takes logits `(batch, r, 1 + classes)`, background first, deltas `(batch, r, 1 + classes, 4)` and the proposals
    `(batch, r, 4)`, and gives float32 `(batch, r, classes, 5)`: `(y_min, x_min, y_max, x_max)` in 0..1 of the picture's
    height and width, cut off at its border, and the probability of the class. Empty proposals give zeros.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.built = True

    def call(self, class_logits, deltas, proposals):
        scores = ops.softmax(ops.cast(class_logits, "float32"), axis=-1)[:, :, 1:]
        proposals = ops.cast(proposals, "float32")[:, :, None]
        boxes = bx.clip(bx.decode(ops.cast(deltas, "float32")[:, :, 1:], proposals, bx.SECOND_STAGE))
        real = ops.cast(bx.area(proposals) > 0, "float32")[..., None]
        return ops.concatenate([boxes, scores[..., None]], axis=-1) * real

    def compute_output_shape(self, class_logits_shape, deltas_shape, proposals_shape):
        return (*class_logits_shape[:2], class_logits_shape[2] - 1, 5)

    def compute_output_spec(self, class_logits, deltas, proposals):
        shape = self.compute_output_shape(class_logits.shape, deltas.shape, proposals.shape)
        return keras.KerasTensor(shape, dtype="float32")


def _normal(stddev):
    return initializers.RandomNormal(stddev=stddev)


def _uniform():
    return initializers.VarianceScaling(1.0, "fan_in", "uniform")


def pyramid(stages, maps, *, extra):
    """Levels of a feature pyramid, by number from `LOWEST` up, of a backbone's stages; `extra` adds one at the end."""
    levels, above = {}, None
    for number, stage in reversed(list(enumerate(stages, LOWEST))):
        x = layers.Conv2D(maps, 1, kernel_initializer=_uniform(), name=f"fpn_inner{number}")(stage)
        if above is not None:
            above = layers.UpSampling2D(2, name=f"fpn_up{number}")(above)
            rest = [larger - size for larger, size in zip(above.shape[1:3], x.shape[1:3], strict=True)]
            if any(rest):
                above = layers.Cropping2D([(0, n) for n in rest], name=f"fpn_crop{number}")(above)
            x = layers.Add(name=f"fpn_add{number}")([x, above])
        above = x
        levels[number] = layers.Conv2D(
            maps, 3, padding="same", kernel_initializer=_uniform(), name=f"fpn_level{number}"
        )(x)
    if extra:
        top = max(levels)
        levels[top + 1] = layers.MaxPooling2D(1, 2, name=f"fpn_level{top + 1}")(levels[top])
    return dict(sorted(levels.items()))


def first_stage(levels, anchors_of_place):
    """The region proposal network: logits `(batch, a)` and deltas `(batch, a, 4)` of all anchors, level by level."""
    maps = levels[LOWEST].shape[-1]
    conv = layers.Conv2D(maps, 3, padding="same", activation="relu", kernel_initializer=_normal(0.01), name="rpn_conv")
    hidden = {number: conv(level) for number, level in levels.items()}

    def of_anchors(name, numbers, shape):
        read = layers.Conv2D(
            numbers * anchors_of_place, 1, kernel_initializer=_normal(0.01), dtype="float32", name=f"rpn_conv_{name}"
        )
        answers = [
            layers.Reshape(shape, dtype="float32", name=f"rpn_{name}{number}")(read(x)) for number, x in hidden.items()
        ]
        return layers.Concatenate(axis=1, dtype="float32", name=f"rpn_{name}")(answers)

    return of_anchors("objectness", 1, (-1,)), of_anchors("deltas", 4, (-1, 4))


def second_stage(levels, picture_size, num_classes, hidden_units, bins, canonical_size):
    """The model that says what boxes hold: levels and boxes `(batch, n, 4)` → class logits and deltas."""
    maps = [keras.Input(level.shape[1:], name=f"level{number}") for number, level in levels.items()]
    boxes = keras.Input((None, 4), name="boxes")
    strides = [2**number for number in levels]
    x = MultiScaleRoIAlign(bins, strides, picture_size, canonical_size=canonical_size, name="align")(maps, boxes)
    x = layers.Reshape((-1, bins * bins * x.shape[-1]), name="flatten")(x)
    for i in (1, 2):
        x = layers.Dense(hidden_units, activation="relu", kernel_initializer="he_normal", name=f"fc{i}")(x)
    logits = layers.Dense(1 + num_classes, kernel_initializer=_normal(0.01), dtype="float32", name="class_logits")(x)
    deltas = layers.Dense(4 * (1 + num_classes), kernel_initializer=_normal(0.001), dtype="float32", name="box_deltas")(
        x
    )
    deltas = layers.Reshape((-1, 1 + num_classes, 4), dtype="float32", name="deltas")(deltas)
    return keras.Model([*maps, boxes], [logits, deltas], name="roi_head")


def _made_of(branch):
    def network(
        input_shape=(800, 800, 3),
        num_classes=90,
        *,
        blocks,
        widths=WIDTHS,
        frozen_batch_norm=False,
        pyramid_maps=256,
        anchor_sizes=((32,), (64,), (128,), (256,), (512,)),
        aspect_ratios=(0.5, 1.0, 2.0),
        candidates_per_level=1000,
        proposals=1000,
        proposal_overlap=0.7,
        bins=7,
        canonical_size=224,
        hidden_units=1024,
        include_top=True,
        name,
    ):
        """A detector of two stages on the pyramid of a residual network.

        Args:
            input_shape: `(height, width, channels)`, at least 32x32 pixels.
            num_classes: kinds of objects, background not among them.
            blocks: number of blocks of each stage of the backbone.
            widths: maps of each of its stages; a bottleneck ends in 4 times as many.
            frozen_batch_norm: whether the backbone's batch normalisation learns nothing and uses its stored statistics
                in training, too: for backbones that were trained before. One that starts fresh needs `False`.
            pyramid_maps: maps of each level of the pyramid.
            anchor_sizes: of each level the sizes of its anchors, in pixels, as many on every level; one level more than
                the backbone has stages adds one to the pyramid.
            aspect_ratios: height divided by width, of anchors.
            candidates_per_level: likeliest anchors of each level that may become proposals.
            proposals: how many boxes the second stage looks at.
            proposal_overlap: of proposals that overlap by more than this only the likelier one is kept.
            bins: height and width of what is read off the pyramid for a box.
            canonical_size: what is as large as this, in pixels, is read off level 4: see `MultiScaleRoIAlign`.
            hidden_units: width of both hidden layers of the second stage.
            include_top: `False` gives the maps of the last stage of the backbone.
            name: name of the model.

        Returns:
            `image` float32 `(batch, *input_shape)` → candidates float32 `(batch, proposals, num_classes, 5)`:
            `(y_min, x_min, y_max, x_max)` in 0..1 of the picture's height and width, and the probability of the class.
            They overlap: `boxes.non_max_suppression` chooses among those of a class. For training, the layers
            `rpn_objectness` `(batch, a)`, `rpn_deltas` `(batch, a, 4)`, `proposals` `(batch, proposals, 4)`, whose
            layer knows all `anchors`, the levels `fpn_level2`, …, and the model `roi_head`, which takes the list of
            those levels that the backbone has stages for and boxes `(batch, n, 4)`, and gives class logits
            `(batch, n, 1 + num_classes)`, background first, and deltas `(batch, n, 1 + num_classes, 4)`.
        """
        for argument, value in (("proposals", proposals), ("candidates_per_level", candidates_per_level)):
            check_count(name, argument, value)
        if len(anchor_sizes) not in (len(blocks), len(blocks) + 1) or len({len(sizes) for sizes in anchor_sizes}) > 1:
            raise ValueError(
                f"anchor_sizes of {name!r} must hold equally many sizes for each of the {len(blocks)} stages, and may "
                f"hold them for one level more. Received: {anchor_sizes!r}."
            )
        backbone = residual_network(
            branch,
            TORCHVISION,
            input_shape,
            num_classes,
            blocks,
            widths,
            stochastic_depth=0.0,
            include_top=False,
            name=name,
        )
        if frozen_batch_norm:
            for layer in backbone.layers:
                if isinstance(layer, layers.BatchNormalization):
                    layer.trainable = False
        if not include_top:
            return backbone

        stages = [backbone.get_layer(f"stage{i}").output for i in range(1, len(blocks) + 1)]
        levels = pyramid(stages, pyramid_maps, extra=len(anchor_sizes) > len(stages))
        objectness, deltas = first_stage(levels, len(anchor_sizes[0]) * len(aspect_ratios))
        boxes = RegionProposals(
            input_shape[:2],
            [level.shape[1:3] for level in levels.values()],
            [2**number for number in levels],
            anchor_sizes,
            aspect_ratios,
            candidates_per_level,
            proposals,
            proposal_overlap,
            dtype="float32",
            name="proposals",
        )(objectness, deltas)
        read = dict(list(levels.items())[: len(stages)])
        head = second_stage(read, input_shape[:2], num_classes, hidden_units, bins, canonical_size)
        candidates = RegionBoxes(dtype="float32", name="candidates")(*head([*read.values(), boxes]), boxes)
        return keras.Model(backbone.input, candidates, name=name)

    return network


_member = functools.partial(variant, task="object-detection", paper=PAPER, min_size=32)

faster_rcnn_r50_fpn = _member(
    _made_of(bottleneck),
    "faster_rcnn_r50_fpn",
    "A residual network of 50 layers with a feature pyramid, its proposals, and what they hold.",
    {"blocks": (3, 4, 6, 3), "frozen_batch_norm": True},
    tiny={**TINY, "frozen_batch_norm": False},  # fresh weights cannot learn beside statistics that are not theirs
)
faster_rcnn_small = _member(
    _made_of(basic),
    "faster_rcnn_small",
    "Proposals and what they hold, on the pyramid of a narrow residual network, for small pictures.",
    {
        "input_shape": (128, 128, 3),
        "num_classes": 10,
        "blocks": (2, 2, 2, 2),
        "widths": (32, 64, 128, 128),
        "pyramid_maps": 64,
        "anchor_sizes": ((12,), (24,), (48,), (96,)),
        "candidates_per_level": 200,
        "proposals": 64,
        "canonical_size": 112,
        "hidden_units": 256,
    },
    tiny=TINY,
)
