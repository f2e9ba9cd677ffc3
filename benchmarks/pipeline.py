"""Does reading JPEG files limit training? The input pipeline of a folder beside arrays in memory.

    python benchmarks/pipeline.py --models lenet5,cifar10_cnn,mobilenet_v1,resnet18

A folder of JPEG files (parts of real photographs, 256x256 pixels) is decoded and resized anew in every epoch, as one
is that does not fit into memory. For every network: how many pictures per second the pipeline gives alone, how many the
network trains on from memory, and how many from the folder. The pipeline does not limit training where the first column
is larger than the second; it shares the processors with the network, so the last column is below 1 all the same.
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
    print("| model | JPEG pipeline alone, pictures/s | training from memory | training from JPEG | JPEG / memory |")
    print("|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), options.examples)
        streamed, kept = parts(folder, options.size)
        for name in options.models.split(","):
            alone, memory, jpeg = [], [], []
            model = zoo.build(name, input_shape=(options.size, options.size, 3), num_classes=CLASSES)
            model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
            fit(model, kept, options)  # traces
            for _ in range(options.rounds):
                alone.append(read(streamed, options))
                memory.append(fit(model, kept, options))
                jpeg.append(fit(model, streamed, options))
            speeds = [options.examples / min(seconds) for seconds in (alone, memory, jpeg)]
            cells = [f"{speed:,.0f}" for speed in speeds]
            print(f"| {name} | {' | '.join(cells)} | {speeds[2] / speeds[1]:.2f} |", flush=True)


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
