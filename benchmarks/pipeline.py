"""Does reading JPEG files limit training? The input pipeline of a folder beside arrays in memory.

    python benchmarks/pipeline.py --models lenet5,cifar10_cnn,mobilenet_v1,resnet18

A folder of JPEG files (parts of real photographs, 256x256 pixels) is decoded and resized anew in every epoch, as one
is that does not fit into memory; or read from the disk, where `--cache-dir` keeps them preprocessed. For every network:
how many pictures per second both give alone, how many the network trains on from memory, from the folder, and from the
disk. The pipeline does not limit training where it gives more alone than the network takes from memory; it shares the
processors with the network, so the last columns are below 1 all the same.
"""

import argparse
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

import zoo
from recipes import training
from recipes.config import ImageConfig
from recipes.kept_examples import kept
from recipes.pipeline import Part, Reading, collect, prepare
from recipes.preprocessing import ImagePreprocessing
from recipes.tasks.image_classification import ImageClassification

CLASSES = 2
FILE_SIZE = 256


def main():
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="lenet5,cifar10_cnn,mobilenet_v2,resnet18", help="separated by commas")
    parser.add_argument("--size", type=int, default=64, help="height and width of the network's input in pixels")
    parser.add_argument("--examples", type=int, default=640)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    print(f"JPEG of {FILE_SIZE}x{FILE_SIZE} → {options.size}x{options.size}, batches of {options.batch_size}\n")
    columns = ["model", "JPEG alone, pictures/s", "disk alone", "training from memory", "from JPEG", "from disk"]
    print(f"| {' | '.join([*columns, 'JPEG / memory', 'disk / memory'])} |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), options.examples)
        streamed, memory = parts(folder, options.size)
        disk = kept(streamed, Path(folder) / "kept", {})
        for name in options.models.split(","):
            seconds = []
            model = zoo.build(name, input_shape=(options.size, options.size, 3), num_classes=CLASSES)
            model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
            fit(model, memory, options)  # traces
            for _ in range(options.rounds):
                alone = [read(part, options) for part in (streamed, disk)]
                seconds.append(alone + [fit(model, part, options) for part in (memory, streamed, disk)])
            speeds = [options.examples / min(each) for each in zip(*seconds, strict=True)]
            cells = [f"{speed:,.0f}" for speed in speeds] + [f"{speed / speeds[2]:.2f}" for speed in speeds[3:]]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def write_pictures(folder, count):
    """Parts of two photographs, one class each."""
    rng = np.random.default_rng(0)
    photographs = load_sample_images().images
    for i in range(count):
        pixels = photographs[i % CLASSES]
        top, left = (int(rng.integers(0, n - FILE_SIZE + 1)) for n in pixels.shape[:2])
        path = folder / f"class{i % CLASSES}" / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels[top : top + FILE_SIZE, left : left + FILE_SIZE]).save(path, quality=90)


def parts(folder, size) -> tuple[Part, Part]:
    """The folder's training part as a recipe would stream it, and in memory."""
    config = ImageConfig(validation=0, test=0)
    data = training.load_data(folder, ImageClassification, config)
    preprocessing = ImagePreprocessing(size, size, 3)
    encode = ImageClassification(data, config)
    encode.adopt(zoo.build("lenet5", input_shape=(size, size, 3), num_classes=CLASSES))
    streamed = prepare(
        data.parts["train"],
        data.sizes["train"],
        Reading(lambda x, y: (preprocessing.one(x), encode.encode(y))),
        bytes_per_example=2**40,  # more than fits
    )
    x, y = collect(streamed.batches(256))
    return streamed, Part(streamed.size, (x, y), None, streamed.reading)


def epoch(part, options):
    return part.epochs(options.batch_size, seed=0, shuffle=True).take(part.steps(options.batch_size))


def read(part, options) -> float:
    """Seconds to read one epoch."""
    started = time.perf_counter()
    for _ in epoch(part, options):
        pass
    return time.perf_counter() - started


def fit(model, part, options) -> float:
    """Seconds to train one epoch."""
    started = time.perf_counter()
    model.fit(epoch(part, options), verbose=0)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
