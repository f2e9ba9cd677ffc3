"""Every experiment, by the table of RESULTS.md in which it is a row."""

import fnmatch
from collections.abc import Sequence

from recipes.experiments.experiment import Experiment, FewScans, Published, RunOf
from zoo.nearest import unknown

GATE = {"batch_size": 4, "optimizer": "sgd", "learning_rate": 2.0, "epochs": 150}
SENTENCES = {"dropout": 0.5, "epochs": 10, "patience": 3, "max_length": 64}
COSINE = {"learning_rate": 0.002, "schedule": "cosine"}
RESIDUAL = {
    "batch_size": 128,
    "optimizer": "nesterov",
    "learning_rate": 0.1,
    "schedule": "cosine",
    "warmup_epochs": 0.5,
    "weight_decay": 0.0005,
    "augment": ("flip", "shift"),
}
TUNED = {"max_length": 64, "batch_size": 32, "learning_rate": 0.0003, "schedule": "cosine", "warmup_epochs": 0.5}
FEW = {"epochs": 60, "batch_size": 20, "validation": 0, "augment": ("rotate", "shift", "zoom"), **COSINE}
SEEN_OFTEN = {"train_split": "train[:5%]", "epochs": 60}
ADVERSARIAL = {
    "epochs": 10,
    "batch_size": 128,
    "learning_rate": 0.0002,
    "judge": RunOf("lenet5_judge-fashion_mnist"),
}
AVERAGE_PRECISION = {"judged_by": ("ap",), "also": ("ap50", "ap75", "ap_small", "ar100")}
OF_PIXELS = {"judged_by": ("mean_iou",), "also": ("accuracy",)}
OF_REGRESSION = {"judged_by": ("rmse",), "also": ("mae", "r2")}
VGG_NARROW = {"widths": [16, 32, 64, 64, 64], "depths": [2, 2, 2, 2, 1]}
MASKED = RunOf("bert_tiny-prose")
FASHION_README = "README of Fashion-MNIST, Benchmark"

TABLES: dict[str, tuple[Experiment, ...]] = {
    "small": (
        Experiment(
            "linear_regression-line",
            "linear_regression",
            "line",
            {"epochs": 10, "optimizer": "sgd", "learning_rate": 0.1},
            **OF_REGRESSION,
        ),
        Experiment(
            "linear_regression-diabetes",
            "linear_regression",
            "diabetes",
            {"epochs": 60, "learning_rate": 0.05},
            **OF_REGRESSION,
        ),
        Experiment(
            "logistic_regression-breast_cancer",
            "logistic_regression",
            "breast_cancer",
            {"epochs": 30, "learning_rate": 0.05},
            judged_by=("auc",),  # accuracy moves in steps of 1/114, and is often the same for three seeds
            also=("accuracy",),
        ),
        Experiment("logistic_regression-and", "logistic_regression", "gates/and", GATE, also=("auc",)),
        Experiment("logistic_regression-or", "logistic_regression", "gates/or", GATE, also=("auc",)),
        Experiment(
            "logistic_regression-xor", "logistic_regression", "gates/xor", GATE, judged_by=("auc",), also=("accuracy",)
        ),
        Experiment(
            "mlp-xor",
            "mlp",
            "gates/xor",
            {
                "model_args": {"hidden_sizes": [8], "activation": "tanh"},
                "epochs": 200,
                "batch_size": 4,
                "learning_rate": 0.05,
            },
            of_task="binary-classification",
            also=("auc",),
        ),
        Experiment(
            "perceptron-and",
            "perceptron",
            "gates/and",
            {"epochs": 30, "batch_size": 1, "optimizer": "sgd", "learning_rate": 0.5},
            also=("auc",),
        ),
        Experiment("lenet5-digits", "lenet5", "digits", {"epochs": 10}),
    ),
    "text": (
        *(
            Experiment(f"{model}-sentences", model, "sentences", SENTENCES)
            for model in ("simple_rnn", "lstm", "gru", "bilstm", "transformer_classifier")
        ),
        Experiment(
            "transformer-addition",
            "transformer",
            "addition",
            {
                "dropout": 0.0,
                "epochs": 40,
                "batch_size": 128,
                "learning_rate": 0.001,
                "schedule": "cosine",
                "warmup_epochs": 2.0,
                "max_length": 16,
            },
            judged_by=("exact_match",),
        ),
        Experiment(
            "seq2seq_lstm-addition",
            "seq2seq_lstm",
            "addition",
            {"model_args": {"attention": True}, "epochs": 40, "batch_size": 128, **COSINE, "max_length": 16},
            judged_by=("exact_match",),
        ),
    ),
    "gpt": (
        Experiment(
            "gpt-prose",
            "gpt",
            "prose",
            {
                "dropout": 0.0,
                "epochs": 4,
                "optimizer": "adamw",
                **COSINE,
                "warmup_epochs": 0.5,
                "max_length": 128,
            },
            judged_by=("perplexity",),
            also=("accuracy",),
        ),
    ),
    "bert": (
        Experiment(
            "bert_tiny-prose",
            "bert_tiny",
            "prose",
            {
                "model_args": {"max_length": 256},
                "dropout": 0.0,
                "epochs": 40,
                "batch_size": 16,
                "optimizer": "adamw",
                "learning_rate": 0.001,
                "schedule": "cosine",
                "warmup_epochs": 1.0,
                "vocabulary_size": 8000,
                "max_length": 256,
            },
            of_task="masked-language-modeling",
            judged_by=("perplexity",),
            also=("accuracy",),
        ),
    ),
    "tuning": tuple(
        Experiment(
            f"bert_tiny{kind}-sentences_{share}",
            "bert_tiny",
            "sentences",
            {"train_split": f"train[:{share}%]", "weights": weights, "epochs": epochs, **TUNED},
            of_task="text-classification",
        )
        for share, epochs in ((100, 5), (10, 20), (2, 40))
        for kind, weights in (("_fresh", RunOf(MASKED.experiment, fresh=True)), ("_tuned", MASKED))
    ),
    "mnist": (
        Experiment("mlp-mnist", "mlp", "mnist", {"epochs": 20}, published=Published(0.9253, "course notes")),
        Experiment(
            "mnist_cnn-mnist",
            "mnist_cnn",
            "mnist",
            {"epochs": 3},
            published=Published(0.992, "example of Keras, 12 epochs, with dropout"),
        ),
        Experiment(
            "mnist_cnn_linear-mnist", "mnist_cnn", "mnist", {"model_args": {"activation": "linear"}, "epochs": 3}
        ),
        Experiment(
            "lenet5-mnist",
            "lenet5",
            "mnist",
            {"epochs": 15, **COSINE},
            published=Published(0.9905, "LeCun et al. 1998, III.B"),
        ),
        Experiment(
            "lenet5_augmented-mnist",
            "lenet5",
            "mnist",
            {"epochs": 20, **COSINE, "augment": ("rotate", "shift", "zoom")},
            published=Published(0.992, "LeCun et al. 1998, III.B, with distortions of its own"),
        ),
        Experiment("mlp-fashion_mnist", "mlp", "fashion_mnist", {"epochs": 20}),
        Experiment(
            "mlp_256_128_100-fashion_mnist",
            "mlp",
            "fashion_mnist",
            {"model_args": {"hidden_sizes": [256, 128, 100], "activation": "relu", "dropout": 0.2}, "epochs": 20},
            published=Published(0.8833, FASHION_README),
        ),
        Experiment(
            "lenet5-fashion_mnist",
            "lenet5",
            "fashion_mnist",
            {"epochs": 15, **COSINE},
            published=Published(0.876, f"{FASHION_README}, another network of two convolutions"),
        ),
        Experiment("resnet20-fashion_mnist", "resnet20", "fashion_mnist", {"epochs": 8, **RESIDUAL}),
        Experiment(
            "densenet_bc_28-fashion_mnist",
            "densenet_bc100",
            "fashion_mnist",
            {"model_args": {"blocks": [2, 4, 6], "growth_rate": 16}, "epochs": 10, **RESIDUAL},
            published=Published(0.954, f"{FASHION_README}, one of 768,000 parameters"),
        ),
    ),
    "few": (
        Experiment(
            "lenet5_fresh-few_digits",
            "lenet5",
            FewScans(per_class=10),
            {**FEW, "image_size": 28},
        ),
        Experiment(
            "lenet5_tuned-few_digits",
            "lenet5",
            FewScans(per_class=10),
            {
                **FEW,
                "weights": RunOf("lenet5_augmented-mnist"),
                "freeze": "backbone",
                "unfreeze_at": 20,
                "unfreeze_rate": 0.5,
            },
        ),
    ),
    "mixup": (
        Experiment("cifar10_cnn-fashion_mnist_5", "cifar10_cnn", "fashion_mnist", SEEN_OFTEN),
        Experiment("cifar10_cnn_mixup-fashion_mnist_5", "cifar10_cnn", "fashion_mnist", {**SEEN_OFTEN, "mixup": 0.2}),
    ),
    "boxes": (
        Experiment(
            "yolo_v1_small-digit_scenes",
            "yolo_v1_small",
            "digit_scenes/small/count=6000",
            {
                "epochs": 20,
                "batch_size": 32,
                "optimizer": "adamw",
                **COSINE,
                "warmup_epochs": 1.0,
                "weight_decay": 0.1,
                "ema": 0.99,
                "augment": ("contrast",),
            },
            **AVERAGE_PRECISION,
        ),
        Experiment(
            "faster_rcnn_small-digit_scenes",
            "faster_rcnn_small",
            "digit_scenes/small/count=6000",
            {
                "epochs": 8,
                "batch_size": 16,
                "learning_rate": 0.001,
                "schedule": "cosine",
                "warmup_epochs": 0.5,
                "clip_norm": 10.0,
                "augment": ("contrast",),
            },
            **AVERAGE_PRECISION,
        ),
    ),
    "pixels": (
        Experiment(
            "unet-digit_scenes",
            "unet",
            "digit_scenes/small/scale=24-42,count=6000",
            {
                "model_args": {"width": 16, "batch_norm": True},
                "dropout": 0.1,
                "epochs": 16,
                "batch_size": 16,
                "optimizer": "adamw",
                "learning_rate": 0.003,
                "schedule": "cosine",
                "warmup_epochs": 0.5,
                "weight_decay": 0.05,
                "ema": 0.99,
                "augment": ("contrast",),
            },
            **OF_PIXELS,
        ),
        Experiment(
            "fcn8s-digit_scenes",
            "fcn8s",
            "digit_scenes/small/scale=24-42,count=6000",
            {
                "model_args": {"widths": [16, 32, 64, 128, 128], "hidden_units": 256},
                "dropout": 0.2,
                "epochs": 8,
                "batch_size": 16,
                "learning_rate": 0.001,
                "schedule": "cosine",
                "warmup_epochs": 0.5,
                "augment": ("contrast",),
            },
            **OF_PIXELS,
        ),
    ),
    "clothes": (
        Experiment("lenet5_judge-fashion_mnist", "lenet5", "fashion_mnist"),
        Experiment(
            "gan-fashion_mnist",
            "gan",
            "fashion_mnist",
            ADVERSARIAL,
            judged_by=("frechet",),
            also=("mode_coverage", "class_divergence", "frechet_real"),
        ),
        Experiment(
            "dcgan-fashion_mnist",
            "dcgan",
            "fashion_mnist",
            {"model_args": {"width": 32}, **ADVERSARIAL},
            judged_by=("frechet",),
            also=("mode_coverage", "class_divergence", "frechet_real"),
        ),
    ),
    "adaptation": (
        Experiment(
            "dann-mnist",
            "dann",
            "mnist",
            {
                "epochs": 8,
                "optimizer": "momentum",
                "learning_rate": 0.01,
                "schedule": "annealed",
                "target_data": "digits_m/mnist",
            },
            of_task="domain-adaptation",
            also=("source_accuracy", "source_only_accuracy", "target_trained_accuracy"),
            published=Published(0.7666, "Ganin et al. 2016, Table 2, for MNIST-M, on other photographs"),
        ),
    ),
    "style": (
        Experiment(
            "vgg_narrow-digits_m",
            "vgg16",
            "digits_m/mnist",
            {
                "train_split": "train[:24000]",
                "model_args": {**VGG_NARROW, "hidden_units": 128},
                "epochs": 3,
                "learning_rate": 0.001,
                "schedule": "cosine",
                "warmup_epochs": 0.2,
                "image_size": (32, 32),
            },
        ),
        Experiment(
            "style_transfer-photographs",
            "style_transfer",
            "photographs",
            {
                "epochs": 2,
                "batch_size": 4,
                **COSINE,
                "image_size": (96, 96),
                "crops": 60,
                "variation_weight": 0.3,
                "perception": RunOf("vgg_narrow-digits_m"),
                "perception_args": VGG_NARROW,
            },
            judged_by=("style", "content"),
            also=("variation", "style_before"),
        ),
    ),
}

EXPERIMENTS: dict[str, Experiment] = {row.name: row for rows in TABLES.values() for row in rows}


def select(patterns: Sequence[str]) -> list[Experiment]:
    """The experiments with these names, each once, in the order of the rows.

    Args:
        patterns: names, shell patterns of such, as `mlp-*`, or names of tables.

    Raises:
        ValueError: one that fits none.
    """
    chosen = [_names(pattern) for pattern in patterns]
    for pattern, names in zip(patterns, chosen, strict=True):
        if not names:
            raise unknown("experiment", pattern, [*EXPERIMENTS, *TABLES])
    return [row for name, row in EXPERIMENTS.items() if any(name in names for names in chosen)]


def _names(pattern: str) -> list[str]:
    """Of the rows of a table, or of those that a pattern fits."""
    return [row.name for row in TABLES[pattern]] if pattern in TABLES else fnmatch.filter(EXPERIMENTS, pattern)
