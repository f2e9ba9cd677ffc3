"""Recipes: data and an architecture become a trained Run, a folder with the model and all that is needed to use it.

>>> import recipes
>>> run = recipes.image_classification("lenet5", "digits", epochs=5, run_dir="runs/lenet5")
>>> run.metrics["accuracy"]
"""

from zoo.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Bundle": "recipes.bundle",
        "Comparison": "recipes.comparison",
        "DataReport": "recipes.data.checks",
        "Explanation": "recipes.explanation",
        "Run": "recipes.run",
        "TrainingDiverged": "recipes.callbacks",
        "binary_classification": "recipes.tasks.binary_classification",
        "check_data": "recipes.data.checks",
        "compare": "recipes.comparison",
        "domain_adaptation": "recipes.tasks.domain_adaptation",
        "evaluate": "recipes.evaluation",
        "explain": "recipes.explanation",
        "explanation_methods": "recipes.explanation",
        "image_classification": "recipes.tasks.image_classification",
        "image_generation": "recipes.tasks.image_generation",
        "language_modeling": "recipes.tasks.language_modeling",
        "load_run": "recipes.run",
        "masked_language_modeling": "recipes.tasks.masked_language_modeling",
        "object_detection": "recipes.tasks.object_detection",
        "pretrained": "recipes.published_weights",
        "regression": "recipes.tasks.regression",
        "search": "recipes.searching.trials",
        "semantic_segmentation": "recipes.tasks.semantic_segmentation",
        "sequence_to_sequence": "recipes.tasks.sequence_to_sequence",
        "style_transfer": "recipes.tasks.style_transfer",
        "stylize": "recipes.stylizing",
        "text_classification": "recipes.tasks.text_classification",
        "token_classification": "recipes.tasks.token_classification",
    },
)
