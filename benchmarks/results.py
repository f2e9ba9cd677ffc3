"""A Markdown table of finished Runs, for RESULTS.md, and the pictures that belong to them.

python benchmarks/results.py runs/lenet5-mnist runs/mlp-mnist
python benchmarks/results.py runs/dcgan-fashion_mnist --pictures benchmarks/pictures --of predictions
"""

import argparse
import re
from pathlib import Path

from PIL import Image

import recipes

COLOURS = 128
"""Of a picture in RESULTS.md, which then takes a quarter of the room."""


def main():
    """Print one row per Run, and under the table the command that made each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", help="folders of Runs")
    parser.add_argument("--pictures", metavar="FOLDER", help="also copy pictures of the Runs there, in fewer colours")
    parser.add_argument("--of", default="predictions", help="which of a Run's pictures: predictions, features, …")
    options = parser.parse_args()

    found = recipes.compare(options.folders)
    print(found.markdown(options=["seed"]))
    commands = [re.sub(r" --task image-classification", "", run.facts["command"]) for run in found.runs]
    for run in found.runs if options.pictures else ():
        copy(run.dir / f"{options.of}.png", Path(options.pictures) / f"{run.dir.name}.png")
    print("\n```console")
    print("\n".join(f"$ {command}" for command in commands))
    print("```")


def copy(picture, to):
    """Copy a PNG in fewer colours."""
    to.parent.mkdir(exist_ok=True)
    Image.open(picture).convert("RGB").quantize(COLOURS).save(to, optimize=True)


if __name__ == "__main__":
    main()
