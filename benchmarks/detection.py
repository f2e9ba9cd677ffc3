"""Suppression and RoIAlign beside `tf.image`, and how long the detectors take for one picture.

    python benchmarks/detection.py --rounds 15
    python benchmarks/detection.py --models yolo_v1_small,faster_rcnn_small      # quicker, with less memory

Ours and theirs run in one process, in turns, on the same boxes, and their answers are compared. Every round gives a
ratio, and the median of the rounds counts: above 1 says that ours is faster. RoIAlign of `tf.image` is
`crop_and_resize` to every point of a bin, and their average. Times are medians, in milliseconds.
"""

import argparse

import numpy as np
import tensorflow as tf
from architectures import forward, in_turns

import zoo
from zoo import boxes as bx
from zoo.roi_align import roi_align

PARTS = ("suppression", "roi_align", "networks")
SUPPRESSION = [
    # pictures, classes, boxes, most of them taken, threshold: of proposals and of answers
    (1, 1, 4800, 1000, 0.7),
    (1, 1, 1000, 64, 0.7),
    (1, 90, 1000, 100, 0.5),
    (8, 10, 128, 20, 0.5),
]
ROI_ALIGN = [
    # pictures, side of the map, channels, boxes, bins
    (1, 32, 64, 64, 7),
    (8, 32, 64, 64, 7),
    (1, 200, 256, 300, 7),
]


def main():
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help="names, separated by commas")
    parser.add_argument("--models", default=",".join(zoo.list_models(task="object-detection")), help="the same")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    parts = options.parts.split(",")

    if "suppression" in parts:
        print("| pictures | classes | boxes | at most | threshold | ours, ms | tf.image / ours |")
        print("|---:|---:|---:|---:|---:|---:|---:|")
        for case in SUPPRESSION:
            print(f"| {' | '.join(map(str, case))} | {compared(suppressions(*case), options.rounds)} |", flush=True)
    if "roi_align" in parts:
        print("\n| pictures | map | channels | boxes | bins | ours, ms | tf.image / ours | with gradient, ms | ratio |")
        print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
        for case in ROI_ALIGN:
            cells = [compared(poolings(*case, gradient), options.rounds) for gradient in (False, True)]
            print(f"| {' | '.join(map(str, case))} | {' | '.join(cells)} |", flush=True)
    if "networks" in parts:
        print("\n| model | input | ms a picture |")
        print("|---|---:|---:|")
        for name in options.models.split(","):
            model = zoo.build(name)
            pixels = np.random.default_rng(0).random((1, *model.input_shape[1:]), np.float32)
            (seconds,) = in_turns([forward(model, pixels)], options.rounds)
            size = "x".join(map(str, model.input_shape[1:3]))
            print(f"| {name} | {size} | {1e3 * np.median(seconds):,.1f} |", flush=True)
            del model


def compared(calls, rounds):
    """Cells of a table: milliseconds of the first call, and how many times as long the second one takes."""
    ours, theirs = in_turns(calls, rounds)
    return f"{1e3 * np.median(ours):,.1f} | {np.median(theirs / ours):.2f}"


def traced(function, *arguments):
    """A call that runs a function as a graph."""
    run = tf.function(function, autograph=False)
    constants = [tf.constant(argument) for argument in arguments]
    return lambda: run(*constants).numpy()


def suppressions(pictures, classes, count, most, threshold):
    """Calls that choose among the boxes of every class of every picture: ours and that of `tf.image`."""
    rng = np.random.default_rng(0)
    things = rng.random((pictures, 40, 2))[:, rng.integers(0, 40, count)]
    middle, size = things + rng.normal(0, 0.03, things.shape), np.exp(rng.normal(-2.2, 0.3, things.shape))
    boxes = np.concatenate([middle - size / 2, middle + size / 2], axis=-1).astype(np.float32)
    scores = rng.random((pictures, classes, count), np.float32)

    def ours(boxes, scores):
        of_classes = tf.reshape(tf.repeat(boxes, classes, axis=0), (pictures * classes, count, 4))
        ids = bx.non_max_suppression(of_classes, tf.reshape(scores, (pictures * classes, count)), most, threshold)
        chosen = tf.gather(of_classes, tf.maximum(ids, 0), batch_dims=1)
        return tf.reduce_sum(chosen * tf.cast(ids >= 0, tf.float32)[..., None])

    def theirs(boxes, scores):
        if classes == 1:
            ids, counts = tf.image.non_max_suppression_padded(
                boxes, scores[:, 0], most, threshold, pad_to_max_output_size=True
            )
            taken = tf.sequence_mask(counts, most, tf.float32)
            return tf.reduce_sum(tf.gather(boxes, ids, batch_dims=1) * taken[..., None])
        found = tf.image.combined_non_max_suppression(
            boxes[:, :, None], tf.transpose(scores, (0, 2, 1)), most, most * classes, threshold, clip_boxes=False
        )
        return tf.reduce_sum(found.nmsed_boxes)

    calls = [traced(function, boxes, scores) for function in (ours, theirs)]
    np.testing.assert_allclose(*(call() for call in calls), rtol=1e-3)
    return calls


def poolings(pictures, side, channels, count, bins, gradient):
    """Calls that read boxes off a map, and give the map's gradient if that is wanted: ours and that of `tf.image`."""
    rng = np.random.default_rng(0)
    maps = rng.random((pictures, side, side, channels), np.float32)
    size = 2 + rng.random((pictures, count, 2)) * (side / 4)
    corner = 1 + rng.random((pictures, count, 2)) * (side - 3 - size)  # at the border each has its own rule
    boxes = np.concatenate([corner, corner + size], axis=-1).astype(np.float32)

    def ours(maps, boxes):
        return roi_align(maps, boxes, bins)

    def theirs(maps, boxes):
        half = (boxes[..., 2:] - boxes[..., :2]) / (4 * bins)  # of the way from one of two points to the next
        ends = tf.concat([boxes[..., :2] + half, boxes[..., 2:] - half], axis=-1) / (side - 1)
        picture = tf.repeat(tf.range(pictures), count)
        points = tf.image.crop_and_resize(maps, tf.reshape(ends, (-1, 4)), picture, (2 * bins, 2 * bins))
        return tf.reshape(tf.nn.avg_pool2d(points, 2, 2, "VALID"), (pictures, count, bins, bins, channels))

    def with_gradient(function):
        def run(maps, boxes):
            with tf.GradientTape() as tape:
                tape.watch(maps)
                total = tf.reduce_sum(function(maps, boxes) ** 2)
            return tf.convert_to_tensor(tape.gradient(total, maps))

        return run

    functions = [with_gradient(f) if gradient else f for f in (ours, theirs)]
    calls = [traced(function, maps, boxes) for function in functions]
    # Several threads of crop_and_resize's gradient add to one cell without waiting for one another: some sums are lost.
    assert np.isclose(*(call() for call in calls), rtol=1e-2, atol=1e-3).mean() > 0.999
    return calls


if __name__ == "__main__":
    main()
