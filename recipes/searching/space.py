"""What a search may try for an option: some values, or numbers between two."""

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recipes.config import UNRECORDED, Config
from zoo.nearest import choose

OF_DATA = ("data_dir", "train_split", "test_split", "validation", "test", "target", "text", "monitor")
"""Options that say what is learned from and how it is judged: trials with others could not be compared."""
OF_BUILDER = "model_args."
"""Before the name of an argument of the builder."""

ACCEPTED = (
    "values separated by commas, such as optimizer=adam,momentum; or numbers between two, such as "
    "learning_rate=log(1e-4,1e-1) or dropout=uniform(0,0.5)"
)


@dataclass(frozen=True)
class Values:
    """One of some values."""

    values: tuple[Any, ...]

    @property
    def extremes(self) -> tuple[Any, ...]:
        """Values that must all be accepted for an option."""
        return self.values

    def declare(self, parameters, name: str) -> None:
        """Add it to KerasTuner's parameters."""
        parameters.Choice(name, list(self.values if _are_numbers(*self.values) else map(json.dumps, self.values)))

    def value(self, proposed):
        """The value that KerasTuner has proposed."""
        return json.loads(proposed) if isinstance(proposed, str) else proposed


@dataclass(frozen=True)
class Numbers:
    """A number between two, which are among them.

    Attributes:
        low, high: the least and the largest one.
        log: whether those of every order of magnitude are as likely.
        whole: whether it is a whole number.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @property
    def extremes(self) -> tuple[float, float]:
        """Values that must all be accepted for an option."""
        return self.low, self.high

    def declare(self, parameters, name: str) -> None:
        """Add it to KerasTuner's parameters."""
        kind = parameters.Int if self.whole else parameters.Float
        kind(name, self.low, self.high, sampling="log" if self.log else "linear")

    def value(self, proposed):
        """The value that KerasTuner has proposed, in three digits: more say nothing, and nobody reads them."""
        return proposed if self.whole else float(f"{proposed:.3g}")


def _are_numbers(*values) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


Space = Mapping[str, Values | Numbers]


def parse(texts: Mapping[str, str | Values | Numbers], config: type[Config]) -> dict[str, Values | Numbers]:
    """Read a space: what `ACCEPTED` says, by the name of the option, or `model_args.NAME`.

    Raises:
        ValueError: it says something else.
    """
    return {name: _parsed(name, text, config) if isinstance(text, str) else text for name, text in texts.items()}


def _parsed(name: str, text: str, config: type[Config]) -> Values | Numbers:
    found = re.fullmatch(r"(log|uniform)\(([^,]+),([^,]+)\)", text.replace(" ", ""))
    if found:
        log, low, high = found[1] == "log", _value(found[2]), _value(found[3])
        if _are_numbers(low, high) and low < high and (low > 0 or not log):
            field = config.__dataclass_fields__.get(name)
            whole = field.type in (int, int | None) if field else isinstance(low, int) and isinstance(high, int)
            return Numbers(low, high, log, whole)
    elif values := tuple(_value(word.strip()) for word in text.split(",") if word.strip()):
        return Values(values)
    raise ValueError(f"{name}={text!r} is no space. Accepted: {ACCEPTED}; the lower number first, above 0 for log.")


def _value(word: str):
    try:
        return json.loads(word)
    except ValueError:
        return word


def check(space: Space, config: type[Config], fixed: Mapping[str, Any], arguments) -> None:
    """Check a space against what the recipe takes.

    Args:
        space: what is searched.
        config: the recipe's configuration.
        fixed: options that every trial has.
        arguments: of the model's builder.

    Raises:
        ValueError: no options, an unknown one, one that is fixed, or a value that the recipe refuses.
    """
    if not space:
        raise ValueError("All options of the space are fixed: nothing is left to search. Fix fewer, or say a space.")
    left_out = {*UNRECORDED, *OF_DATA, "model_args"}
    options = [spec.name for spec in dataclasses.fields(config) if spec.name not in left_out]
    for name, dimension in space.items():
        if name.startswith(OF_BUILDER):
            choose("argument of the builder", name.removeprefix(OF_BUILDER), list(arguments))
        else:
            choose("option of the space", name, options)
            for value in dimension.extremes:
                config(**{**fixed, name: value})
        if name in fixed or name.removeprefix(OF_BUILDER) in fixed.get("model_args", {}):
            raise ValueError(f"{name} is in the space and given as {fixed.get(name, fixed.get('model_args'))!r}, too.")


def options_of(space: Space, proposed: Mapping[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a trial: those that are fixed, and what was proposed for the others."""
    values = {name: dimension.value(proposed[name]) for name, dimension in space.items()}
    of_builder = {name.removeprefix(OF_BUILDER): values[name] for name in values if name.startswith(OF_BUILDER)}
    options = {**fixed, **{name: value for name, value in values.items() if not name.startswith(OF_BUILDER)}}
    return options | ({"model_args": {**fixed.get("model_args", {}), **of_builder}} if of_builder else {})
