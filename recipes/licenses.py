"""Under which licences that is published of which a Run is made, as far as those say so who publish it.

A record says `of` what kind it is ("data" or "weights"), its `name`, its `license`, which is an SPDX identifier or in
words, and by whom that is `stated`; both None where there is nobody to ask but the owner. JSON values, kept with the
facts of the Run.
"""

import json

import zoo
from recipes import initial_weights
from recipes.data import Data
from recipes.data.prepared import NONE_STATED
from recipes.run import METRICS_FILE
from zoo import huggingface
from zoo.huggingface import HUB

DATA, WEIGHTS = "data", "weights"
FACT = "licenses"
"""Under which a Run keeps them among its facts."""

Record = dict[str, str | None]


def record(of: str, name: str, license: str | None = None, stated: str | None = None) -> Record:
    """One of them."""
    return {"of": of, "name": name, "license": license, "stated": stated if license else None}


def of_data(data: Data) -> Record:
    """That of a data set, as it says itself; of a person's own data only that person knows it."""
    return record(DATA, data.name, data.license, "the data set")


def of_weights(model: str, weights: str | None) -> list[Record]:
    """Those of the weights that a training begins with; of a Run's, those of all that it was made of.

    Args:
        model: a registry name.
        weights: what `zoo.load_weights` takes, or None.
    """
    if weights is None:
        return []
    if published := zoo.spec(model).weights.get(weights):
        name = f"{weights} ({published.application} of keras.applications)"
        return [record(WEIGHTS, name, published.license, "keras.applications")]
    if weights.startswith(HUB):
        license = huggingface.license_of(weights.removeprefix(HUB)) or NONE_STATED
        return [record(WEIGHTS, weights, license, "its model card")]
    folder = initial_weights.bundle_folder(weights)
    facts = folder / METRICS_FILE if folder else None
    inherited = json.loads(facts.read_text()).get(FACT, []) if facts and facts.is_file() else []
    return inherited or [record(WEIGHTS, weights)]
