"""Copy a picture of each Run for RESULTS.md, in fewer colours.

python benchmarks/copy_pictures.py dcgan-fashion_mnist unet-digit_scenes
python benchmarks/copy_pictures.py dann-mnist --of features
"""

import argparse
from pathlib import Path

from PIL import Image

COLOURS = 128
"""Of a picture in RESULTS.md, which then takes a quarter of the room."""


def main():
    """Copy one picture per experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="+", help="names, of which `zoo reproduce` has made Runs")
    parser.add_argument("--of", default="predictions", help="which of a Run's pictures: predictions, features, …")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="where the Runs are")
    parser.add_argument("--to", type=Path, default=Path(__file__).with_name("pictures"), help="the folder of pictures")
    options = parser.parse_args()

    options.to.mkdir(exist_ok=True)
    for name in options.experiments:
        picture = Image.open(options.runs_dir / name / "seed-0" / f"{options.of}.png")
        picture.convert("RGB").quantize(COLOURS).save(options.to / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
