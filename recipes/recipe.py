"""How a recipe is called: its options are those of its configuration, in Python's own signature."""

import dataclasses
import functools
import inspect
from collections.abc import Callable

from recipes.config import Config, ImageConfig
from zoo.nearest import unknown


def takes(config: type[Config]) -> Callable:
    """Let a recipe `f(model, data, config)` be called `f(model, data, **options)`, with the options in its signature.

    Its `configured(**options)` is the configuration that they make.

    Raises:
        ValueError: (when either is called) an option it does not take, where the nearest one is offered, or a value.
    """
    fields = dataclasses.fields(config)

    def decorate(recipe):
        def configured(**options):
            for name in options:
                if name not in {spec.name for spec in fields}:
                    if name in ImageConfig.__dataclass_fields__:
                        raise ValueError(f"{name} has no meaning for {recipe.__name__}: it is for pictures of classes.")
                    raise unknown(f"option of {recipe.__name__!r}", name, [spec.name for spec in fields])
            return config(**options)

        @functools.wraps(recipe)
        def called(model, data, **options):
            return recipe(model, data, configured(**options))

        listed = [
            inspect.Parameter(
                spec.name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=spec.type,
                default={} if spec.default is dataclasses.MISSING else spec.default,
            )
            for spec in fields
        ]
        signature = inspect.signature(recipe)
        called.__signature__ = signature.replace(parameters=[*list(signature.parameters.values())[:2], *listed])
        explained = "\n".join(f"    {spec.name}: {spec.metadata['help']}" for spec in fields)
        called.__doc__ = f"{inspect.cleandoc(recipe.__doc__)}\n\nOptions:\n{explained}\n"
        called.config, called.configured = config, configured
        return called

    return decorate
