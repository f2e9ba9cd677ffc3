"""Classic architectures as Functional Keras models, under one registry.

>>> import zoo
>>> zoo.list_models("lenet*")
['lenet5']
>>> model = zoo.build("lenet5", input_shape=(28, 28, 1), num_classes=10)

Backend-neutral: this package imports `keras`, never a backend. Importing it is instant; the first call that needs a
network imports Keras.
"""

from zoo.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Spec": "zoo.registry",
        "build": "zoo.registry",
        "build_partner": "zoo.registry",
        "features": "zoo.registry",
        "list_models": "zoo.registry",
        "load_weights": "zoo.registry",
        "register": "zoo.registry",
        "spec": "zoo.registry",
        "stages": "zoo.registry",
    },
)
