"""Every registered model, down the whole road: built, trained, saved, published, proved, served, asked.

Nobody is left out: a model is tested the day it is registered. Members of a family differ in depth and width; at their
tiny size some are one network, layer for layer. Every name is built and must be its network, and every network goes
down the road once, under all its names. It is trained on one batch of raw data; the published version is asked over
REST and gRPC with raw input, and must answer what Keras answered. All versions lie under one base path, so that one
server serves every model, one after the other.
"""

import time
from dataclasses import dataclass, replace

import keras
import numpy as np
import pytest

import export
import recipes
import serving
import zoo
from export import fresh_process, pictures
from recipes.tasks.task import Task
from serving import engines
from tests import raw_data
from zoo import catalog, complexity

LEARNING = {
    "batch_size": raw_data.COUNT,
    "shuffle": False,
    "learning_rate": 0.02,
    "schedule": "cosine",
    "clip_norm": 1.0,
}
PASSES = 6
"""An epoch shows the batch so many times: at its end there is much to be written and told."""
EPOCHS = {"binary-classification": 40, "regression": 40, "sequence-to-sequence": 17, "object-detection": 12}
USUAL_EPOCHS = 10
EVERY_EXAMPLE = {"validation": 0, "test": 0}
OF_SOME_TASKS = {"samples": 0, "max_length": 16, "measured": 0, "compare": False}
"""Options of the recipes that have them."""
RATES = {"image-generation": 0.002}
OF_STYLE = {
    "style": "gravel",
    "image_size": 24,
    "perception": "random",
    "perception_args": {"depths": (1,) * 5, "widths": (4,) * 5},
}
LEARNED = {
    "semantic-segmentation": lambda figures: figures["accuracy"] > 0.85,
    "object-detection": lambda figures: figures["ap50"] > 0.8,
    "style-transfer": lambda figures: figures["style"] < 0.5 * figures["style_before"],
    "domain-adaptation": lambda figures: figures["source_accuracy"] > 0.9,
    # What comes first in a text cannot be known, nor all that masks hide.
    "language-modeling": lambda figures: figures["accuracy"] > 0.9,
    "masked-language-modeling": lambda figures: figures["accuracy"] > 0.9,
}
ENGINES = [name for name, engine in engines.ENGINES.items() if engine.why_not() is None]


@dataclass(frozen=True)
class Case:
    """The network that registered models are at their tiny size, answering a task; `spec` is that of the first one."""

    names: tuple[str, ...]
    task: str

    @property
    def spec(self):
        return zoo.spec(self.names[0])

    @property
    def network(self):
        """What the catalogue says of it."""
        return NETWORKS[self.names[0]][self.task]

    @property
    def width(self):
        """Of the logits: as many as classes, values or tokens; of a picture, its channels."""
        arguments = {**self.spec.arguments, **self.spec.tiny}
        if self.counted:
            return arguments[self.counted]
        return arguments.get("image_shape", arguments["input_shape"])[-1]

    @property
    def counted(self):
        """The argument of the builder that says how wide the answer is; None where it is a picture."""
        name = "vocabulary_size" if self.task in OF_TOKENS else "num_classes"
        return name if name in self.spec.arguments else None

    @property
    def axis(self):
        """Of the output, that has this width: candidates of detectors have five numbers for each class."""
        return -2 if self.task == "object-detection" else -1

    def tiny(self, **arguments):
        return zoo.build(self.spec.name, **{**self.spec.tiny, **self.spec.task_argument(self.task), **arguments})


OF_TOKENS = ("language-modeling", "masked-language-modeling", "sequence-to-sequence")


NETWORKS = {name: entry["tiny"]["networks"] for name, entry in catalog.read().items()}
NAMES = [(name, task) for name, networks in NETWORKS.items() for task in networks]


def every_case():
    """All networks. All tests of one run in one worker, which trains and publishes it once."""
    of_network = {}
    for name, task in NAMES:
        network = NETWORKS[name][task]["fingerprint"]
        same = of_network.get(network, Case((), task)).names
        of_network[network] = Case((*same, name), task)
    return [
        pytest.param(case, marks=pytest.mark.xdist_group(network), id=f"{'='.join(case.names)}-{case.task}")
        for network, case in sorted(of_network.items())
    ]


@pytest.fixture(scope="session", params=every_case())
def case(request):
    return request.param


@pytest.fixture(scope="session")
def model(case):
    """The tiny model, with fresh weights. Not to be changed."""
    keras.utils.set_random_seed(0)
    return case.tiny()


def some_input(model, batch=2):
    """Random input by name; token ids end in padding."""
    rng = np.random.default_rng(1)
    found = {}
    for tensor in model.inputs:
        shape = (batch, *tensor.shape[1:])
        if tensor.dtype == "int32":
            found[tensor.name] = rng.integers(1, 10, shape, np.int32)
            found[tensor.name][:, -1] = 0
        else:
            found[tensor.name] = rng.random(shape, np.float32)
    return found if len(found) > 1 else found[tensor.name]


@pytest.fixture(scope="session")
def judge(tmp_path_factory):
    """Classifier of the pictures that generators learn to make."""
    folder = tmp_path_factory.mktemp("judge") / "run"
    data = raw_data.pictures((16, 16, 1))
    recipes.image_classification("lenet5", data, run_dir=str(folder), epochs=20, verbose=False, **EVERY_EXAMPLE)
    return str(folder)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, request):
    """Model → the Run of its tiny network, trained once to know one batch by heart, and its weights before, by path."""
    runs, folder = {}, tmp_path_factory.mktemp("runs")

    def run_of(case):
        network = case.network["fingerprint"]
        if network not in runs:
            recipe = getattr(recipes, case.task.replace("-", "_"))
            data = raw_data.repeated(raw_data.of_task(case.task, case.spec), PASSES)
            options = {k: v for k, v in OF_SOME_TASKS.items() if k in recipe.config.__dataclass_fields__}
            # What is made to fit the data.
            fitted = ["input_shape", "num_classes", "vocabulary_size"]
            if case.task == "image-generation":
                fitted, options["judge"] = ["image_shape"], request.getfixturevalue("judge")
            if case.task == "style-transfer":
                options |= OF_STYLE
            if case.task == "domain-adaptation":
                options["target_data"] = (255 - data[0], data[1])
            with pytest.MonkeyPatch.context() as patch:
                before = recorded(patch)
                run = recipe(
                    case.spec.name,
                    data,
                    run_dir=str(folder / f"{case.spec.name}-{case.task}"),
                    model_args={k: v for k, v in case.spec.tiny.items() if k not in fitted},
                    verbose=False,
                    epochs=EPOCHS.get(case.task, USUAL_EPOCHS),
                    **{**LEARNING, "learning_rate": RATES.get(case.task, LEARNING["learning_rate"]), **options},
                    **EVERY_EXAMPLE,
                )
            runs[network] = run, before
        return runs[network]

    return run_of


def recorded(patch):
    """The weights that a training begins with, by path, once it has begun."""
    adopt, found = Task.adopt, {}

    def adopt_and_record(task, model):
        adopt(task, model)
        found.update({weight.path: weight.numpy() for weight in model.trainable_weights})

    patch.setattr(Task, "adopt", adopt_and_record)
    return found


@pytest.fixture(scope="session")
def asked(trained):
    """Model → raw examples of its Run, their tensors, and what Keras answers to those and to these."""
    answers = {}

    def of(case):
        network = case.network["fingerprint"]
        if network not in answers:
            run, _ = trained(case)
            raw = {name: array[: raw_data.COUNT] for name, array in run.examples.raw.items()}
            tensors = run.bundle.preprocess(raw)
            answers[network] = raw, tensors, run.bundle.predict(raw), run.bundle.predict_tensors(tensors)
        return answers[network]

    return of


@pytest.fixture(scope="session")
def published(trained, tmp_path_factory):
    """Model → the Version of its tiny network, all under one base path, proved by one process that has no Keras."""
    versions, base = {}, tmp_path_factory.mktemp("served") / "every_model"

    def version_of(case):
        network = case.network["fingerprint"]
        if network not in versions:
            run, _ = trained(case)
            pictures = case.task == "image-classification"
            mapped = pictures and "grad_cam" in recipes.explanation_methods(run.model)
            options = {"golden": raw_data.COUNT, "explain": "auto" if mapped else None}
            versions[network] = export.publish(run, base, **options, allow_breaking=True, allow_worse=True)
        return versions[network]

    with fresh_process.kept():
        yield version_of


@pytest.fixture(scope="session", params=ENGINES)
def server(request, published):
    """A running server of every engine that this machine has."""
    base = published(Case(("linear_regression",), "regression")).path.parent
    with serving.serve(base, engine=request.param) as running:
        yield running


def test_registry_and_catalogue_hold_the_same_models():
    assert zoo.list_models() == list(catalog.read())


@pytest.mark.parametrize(("name", "task"), NAMES)
def test_every_name_is_its_network(name, task):
    model = Case((name,), task).tiny()
    assert catalog.fingerprint(model) == NETWORKS[name][task]["fingerprint"]
    assert model.name == name


def test_tiny_model_has_its_parameters_and_shapes(case, model):
    assert complexity.parameters(model) == case.network["parameters"]
    assert model.output_shape[case.axis] == case.width
    outputs = model(some_input(model))
    assert outputs.shape == (2, *model.output_shape[1:])
    assert np.isfinite(outputs).all()


def test_every_input_is_named(model):
    accepted = [["image"], ["latent"], ["features"], ["tokens"], ["tokens", "segments"], ["source", "target"]]
    assert [tensor.name for tensor in model.inputs] in accepted


def test_without_its_top_it_gives_the_last_stage(case, model):
    backbone = case.tiny(include_top=False)
    until_last_stage = zoo.features(model, list(zoo.stages(model))[-1])
    backbone.set_weights(until_last_stage.get_weights())
    x = some_input(model)
    np.testing.assert_allclose(backbone(x), until_last_stage(x), rtol=1e-5, atol=1e-6)


def test_other_channels_and_sizes(case):
    shape = case.spec.tiny["input_shape"]
    if "vocabulary_size" in case.spec.arguments:
        shapes = [(None,) * len(shape), tuple(n + 2 for n in shape)]
    elif case.spec.min_size:
        shapes = [(shape[0] + 5, shape[1] + 2, channels) for channels in (1, 3, 4)]
        shapes += [(None, None, 3)] if case.spec.any_size else []
    elif "image_shape" in case.spec.arguments:
        shapes = [(5,)]
    else:
        shapes = [(*shape[:-1], shape[-1] + 4), (3, 5, 4)]
    width = {case.counted: 12} if case.counted else {}
    some = 4 if "vocabulary_size" in case.spec.arguments else 40
    for other in shapes:
        model = case.tiny(input_shape=other, **width)
        assert not width or model.output_shape[case.axis] == 12
        x = {t.name: np.zeros([2, *(n or some for n in t.shape[1:])], t.dtype) for t in model.inputs}
        assert model(x if len(x) > 1 else x.popitem()[1]).shape[0] == 2


def test_the_least_size_is_named(case):
    size = case.spec.min_size
    if not size:
        return
    assert case.tiny(input_shape=(size, size, 3))(np.zeros((1, size, size, 3), np.float32)).shape[0] == 1
    with pytest.raises(ValueError, match=f"at least {size}x{size} pixels"):
        case.tiny(input_shape=(size - 1, size, 3))


def test_training_changes_every_weight(case, trained):
    run, before = trained(case)
    for weight in run.model.trainable_weights:
        assert np.any(before[weight.path] != weight.numpy()), f"{weight.path} has learned nothing"


def test_one_batch_is_learned_by_heart(case, trained):
    run, _ = trained(case)
    if case.task == "image-generation":
        fresh = zoo.build(case.spec.name, **{**case.spec.tiny, "image_shape": run.model.output_shape[1:]})
        untrained = replace(run, bundle=replace(run.bundle, model=fresh))
        assert run.metrics["frechet"] < recipes.evaluate(untrained, raw_data.of_task(case.task, case.spec))["frechet"]
        return
    known = LEARNED.get(case.task, lambda figures: by_heart(figures) > 0.99)
    assert known(run.metrics), run.metrics


def by_heart(figures):
    """The share that is right, or explained."""
    return next(figures[name] for name in ("accuracy", "r2", "exact_match") if name in figures)


def test_keras_file_round_trip(case, trained, asked):
    (run, _), (_, tensors, _, before) = trained(case), asked(case)
    again = recipes.load_run(run.dir)
    for kept, weight in zip(again.model.get_weights(), run.model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, weight)
    for name, value in again.bundle.predict_tensors(tensors).items():
        if value.dtype.kind == "f":
            # The last bits of a product depend on where its arrays lie in memory.
            np.testing.assert_allclose(value, before[name], rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(value, before[name])


def test_what_a_picture_is_told_by_can_be_seen(case, trained):
    run, _ = trained(case)
    if case.task not in ("image-classification", "domain-adaptation"):
        with pytest.raises(ValueError, match="Only classes of pictures can be explained"):
            recipes.explain(run, b"")
        return
    for method in recipes.explanation_methods(run.model):
        found = recipes.explain(run, run.examples.raw["image_bytes"][0], method=method)
        assert found.heat_map.shape == found.picture.shape[:2]
        assert np.isfinite(found.heat_map).all()
        assert 0 <= found.heat_map.min() <= found.heat_map.max() <= 1


def test_a_stranger_may_serve_it(case, published):
    found = export.inspect(published(case).path)
    assert found.ok, found.problems


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_the_proof_holds_at_a_server(case, published, server, protocol):
    version = brought_forward(published(case))
    address = {"rest": server.rest_url, "grpc": server.grpc_address}[protocol]
    with serving.Client(address) as client:
        wait_for(client, server.name, version.number)
    report = export.verify(version.path, name=server.name, **{protocol: address})
    assert report.ok, report.problems
    assert all(found.examples for found in report.signatures.values())


@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
def test_the_answer_over_the_wire_is_the_answer_keras_gave(case, trained, asked, published, server, protocol):
    (run, _), number = trained(case), brought_forward(published(case)).number
    raw_signature = run.bundle.preprocessing.signature
    raw, tensors, answer_to_raw, answer_to_tensors = asked(case)
    with serving.Client(server.rest_url if protocol == "REST" else server.grpc_address) as client:
        wait_for(client, server.name, number)
        from_raw = client.predict(server.name, raw, signature=raw_signature, version=number)
        from_tensors = client.predict(server.name, tensors, version=number)
    assert_same(from_raw, answer_to_raw)
    assert_same(from_tensors, answer_to_tensors)


def brought_forward(version):
    """The version, or a copy of it, as the newest one, which is the one that a server serves."""
    base = version.path.parent
    newest = export.versions(base)[-1]
    return version if newest.number == version.number else export.rollback(base, to=version.number)


def wait_for(client, name, number):
    """Wait until a server that watches the base path has loaded a version."""
    deadline = time.monotonic() + 60
    while (number, "AVAILABLE") not in [(found.version, found.state) for found in client.status(name)]:
        assert time.monotonic() < deadline, f"version {number} is not served: {client.status(name)}"
        time.sleep(0.1)


def assert_same(answer, expected):
    assert set(answer) == set(expected)
    for name, value in expected.items():
        if pictures.are_pictures(value):
            assert pictures.sizes(answer[name]) == pictures.sizes(value)
            np.testing.assert_allclose(pictures.pixels(answer[name]), pictures.pixels(value), atol=1)
        elif value.dtype == object:
            assert [str(word) for word in answer[name].flat] == [word.decode() for word in value.flat]
        else:
            assert answer[name].dtype == value.dtype
            np.testing.assert_allclose(answer[name], value, rtol=1e-4, atol=1e-5)
