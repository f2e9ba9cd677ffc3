"""Detectors in training: pictures and their boxes → the parts of the loss of each picture."""

import keras
from keras import ops

import zoo
from recipes.data.annotations import IGNORED, LABEL
from zoo.architectures.faster_rcnn import RegionProposals
from zoo.architectures.yolo_v1 import GridBoxes
from zoo.detection_losses import roi_losses, rpn_losses, yolo_v1_losses
from zoo.matching import sample_proposals

ANCHORS = 256
"""Of each picture that the first stage of Faster R-CNN learns from (Ren et al. 2015, §3.1.3)."""
REGIONS = 512
"""Most of each picture that the second stage learns from, as in torchvision; not more than there are proposals."""
MORE_PROPOSALS = 2
"""Times as many as when it is asked: from the same first stage, for the second one to learn from."""


class DetectorTraining(keras.Model):
    """`(pictures, boxes)` → float32 `(batch, parts)`: what is added up to the loss of each picture.

    Boxes are those of `recipes.data.annotations`; those that are not judged are not learned from. Every kind names its
    `parts`, and has `losses_of(pictures, boxes, labels, training)`, which gives these by name, float32 `(batch,)` each.
    """

    def call(self, inputs, training=False):
        pictures, rows = inputs
        labels = ops.where(rows[..., IGNORED] > 0, -1.0, rows[..., LABEL])
        losses = self.losses_of(pictures, rows[..., :4], ops.cast(labels, "int32"), training)
        return ops.stack([losses[name] for name in self.parts], axis=-1)


class GridTraining(DetectorTraining):
    """Of YOLO: the squared errors of its grid."""

    parts = ("position", "size", "confidence", "no_object", "classes")

    def __init__(self, network: keras.Model, head: GridBoxes):
        super().__init__(name="grid_training")
        self.grid, self.boxes_per_cell = zoo.features(network, "logits"), head.boxes_per_cell
        self.built = True

    def losses_of(self, pictures, boxes, labels, training):
        grid = self.grid(pictures, training=training)
        return yolo_v1_losses(grid, boxes, labels, boxes_per_cell=self.boxes_per_cell)


class RegionTraining(DetectorTraining):
    """Of Faster R-CNN: both stages at once, the second one on proposals of the first and the true boxes."""

    parts = ("objectness", "proposals", "classes", "boxes")

    def __init__(self, network: keras.Model, proposals: RegionProposals, seed: int):
        super().__init__(name="region_training")
        pyramid = [layer.name for layer in network.layers if layer.name.startswith("fpn_level")]
        self.head = network.get_layer("roi_head")
        read = pyramid[: len(self.head.inputs) - 1]  # the coarsest level may be the first stage's alone
        self.seeing = zoo.features(network, ["rpn_objectness", "rpn_deltas", *read])
        count = MORE_PROPOSALS * proposals.count
        self.propose = RegionProposals.from_config({**proposals.get_config(), "count": count, "name": "more_proposals"})
        self.regions = min(REGIONS, proposals.count)
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def losses_of(self, pictures, boxes, labels, training):
        objectness, deltas, *levels = self.seeing(pictures, training=training)
        seed = self.seed_generator
        first = rpn_losses(objectness, deltas, self.propose.anchors, boxes, labels, seed=seed, count=ANCHORS)
        proposals = self.propose(objectness, deltas)
        regions, classes, targets = sample_proposals(proposals, boxes, labels, seed=seed, count=self.regions)
        logits, moves = self.head([*levels, regions], training=training)
        return {**first, **roi_losses(logits, moves, classes, targets)}


def in_training(network: keras.Model, seed: int) -> DetectorTraining:
    """What trains a detector, by the layers it has.

    Raises:
        ValueError: it is none of the detectors that can be trained.
    """
    for layer in network.layers:
        if isinstance(layer, GridBoxes):
            return GridTraining(network, layer)
        if isinstance(layer, RegionProposals):
            return RegionTraining(network, layer, seed)
    raise ValueError(
        f"{network.name!r} is no detector that can be trained. Accepted: {', '.join(zoo.list_models(task=TASK))}, by "
        "name or built."
    )


TASK = "object-detection"
