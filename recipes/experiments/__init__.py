"""The rows of RESULTS.md as named experiments: what is trained, what comes out, and within which interval it should.

rows.py          every experiment, as data
measured.json    what their Runs have given
measured.py      reads and writes it, and says what is expected
reproduction.py  trains experiments again, and judges them
document.py      writes the tables of RESULTS.md
"""

from zoo.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "command_of": "recipes.experiments.reproduction",
        "config_of": "recipes.experiments.reproduction",
        "record": "recipes.experiments.reproduction",
        "reproduce": "recipes.experiments.reproduction",
    },
)
