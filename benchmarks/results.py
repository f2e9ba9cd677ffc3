"""A Markdown table of finished Runs, for RESULTS.md.

python benchmarks/results.py runs/lenet5-mnist runs/mlp-mnist
"""

import re
import sys
from pathlib import Path

import recipes


def main(folders):
    """Print one row per Run, and under the table the command that made each."""
    print("| model | data | parameters | epochs | figures of the test part | seed | seconds |")
    print("|---|---|---:|---:|---|---:|---:|")
    commands = []
    for folder in folders:
        run = recipes.load_run(folder)
        card, facts = run.bundle.card, run.facts
        figures = ", ".join(f"{name} {value:.4f}" for name, value in run.metrics.items())
        part = "" if facts["evaluated_on"] == "test" else f" ({facts['evaluated_on']} part)"
        print(
            f"| {Path(folder).name.rpartition('-')[0]} | {card['data']} | {card['parameters']:,} | {len(run.history)} "
            f"| {figures}{part} | {facts['seed']} | {facts['seconds']['total']:.0f} |"
        )
        commands.append(re.sub(r" --task image-classification", "", facts["command"]))
    print("\n```console")
    print("\n".join(f"$ {command}" for command in commands))
    print("```")


if __name__ == "__main__":
    main(sys.argv[1:])
