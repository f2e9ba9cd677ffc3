"""Every registered model, down the whole road: built, trained, saved, published, proved, served, asked.

Nobody is left out: a model is tested the day it is registered. Each is built with its `tiny` arguments and trained on
one batch of raw data; the published version is asked over REST and gRPC with raw input, and must answer what Keras
answered. All versions lie under one base path, so that one server serves every model, one after the other.
"""

import time

import keras
import numpy as np
import pytest

import export
import recipes
import serving
import zoo
from serving import engines
from tests import raw_data
from zoo import catalog

LEARNING = {"epochs": 250, "batch_size": raw_data.COUNT, "learning_rate": 0.02, "schedule": "cosine", "clip_norm": 1.0}
EVERY_EXAMPLE = {"validation": 0, "test": 0}
ENGINES = [name for name, engine in engines.ENGINES.items() if engine.why_not() is None]


def every_model():
    """Registered names; all tests of one model run in one worker, which trains and publishes it once."""
    return [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in catalog.read()]


@pytest.fixture(scope="session", params=every_model())
def spec(request):
    return zoo.spec(request.param)


def tiny(spec, **arguments):
    return zoo.build(spec.name, **{**spec.tiny, **arguments})


def some_input(model, batch=2):
    return np.random.default_rng(1).random((batch, *model.input_shape[1:]), np.float32)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Model name → its Run, trained once to know one batch by heart."""
    runs, folder = {}, tmp_path_factory.mktemp("runs")

    def run_of(spec):
        if spec.name not in runs:
            recipe = getattr(recipes, spec.task.replace("-", "_"))
            arguments = {k: v for k, v in spec.tiny.items() if k not in ("input_shape", "num_classes")}
            runs[spec.name] = recipe(
                spec.name,
                raw_data.for_spec(spec),
                run_dir=str(folder / spec.name),
                model_args=arguments,
                verbose=False,
                **LEARNING,
                **EVERY_EXAMPLE,
            )
        return runs[spec.name]

    return run_of


@pytest.fixture(scope="session")
def published(trained, tmp_path_factory):
    """Model name → its Version, all of them under one base path."""
    versions, base = {}, tmp_path_factory.mktemp("served") / "every_model"

    def version_of(spec):
        if spec.name not in versions:
            versions[spec.name] = export.publish(trained(spec), base)
        return versions[spec.name]

    return version_of


@pytest.fixture(scope="session", params=ENGINES)
def server(request, published):
    """A running server of every engine that this machine has."""
    base = published(zoo.spec("linear_regression")).path.parent
    with serving.serve(base, engine=request.param) as running:
        yield running


def test_registry_and_catalogue_hold_the_same_models():
    assert zoo.list_models() == list(catalog.read())


def test_tiny_model_has_its_parameters_and_shapes(spec):
    model = tiny(spec)
    assert model.count_params() == catalog.read()[spec.name]["tiny"]["parameters"]
    assert model.output_shape == (None, spec.tiny.get("num_classes", spec.arguments["num_classes"]))
    assert model(some_input(model)).shape == (2, model.output_shape[1])
    assert model.name == spec.name


def test_every_input_is_named(spec):
    assert [tensor.name for tensor in tiny(spec).inputs] in (["image"], ["features"])


def test_without_its_top_it_gives_features(spec):
    model = tiny(spec, include_top=False)
    assert np.isfinite(np.asarray(model(some_input(model)))).all()
    stages = [layer.name for layer in model.layers if layer.name.startswith("stage")]
    backbone = zoo.features(tiny(spec), stages[-1:])
    assert backbone.output_shape == [model.output_shape] or backbone.output_shape == model.output_shape


def test_other_channels_and_sizes(spec):
    shape = spec.tiny["input_shape"]
    if spec.min_size:
        shapes = [(shape[0] + 5, shape[1] + 2, channels) for channels in (1, 3, 4)]
    else:
        shapes = [(*shape[:-1], shape[-1] + 4), (3, 5, 4)]
    for other in shapes:
        model = tiny(spec, input_shape=other, num_classes=7)
        assert model(some_input(model)).shape == (2, 7)


def test_gradient_reaches_every_weight(spec):
    model = tiny(spec)
    before = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    # A target that no output has: every output must change, and with it every weight that bears on it.
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(some_input(model, 16), np.full((16, model.output_shape[1]), 5.0), epochs=3, verbose=0)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert (keras.ops.convert_to_numpy(weight) != old).any(), f"{weight.path} has not moved"


def test_one_batch_is_learned_by_heart(spec, trained):
    metrics = trained(spec).metrics
    assert metrics.get("accuracy", metrics.get("r2")) > 0.99


def test_keras_file_round_trip(spec, trained):
    run = trained(spec)
    again = recipes.load_run(run.dir)
    tensors = run.bundle.preprocess(run.examples.raw)
    np.testing.assert_array_equal(again.model.predict(tensors, verbose=0), run.model.predict(tensors, verbose=0))


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_the_proof_holds_at_a_server(spec, published, server, protocol):
    version = brought_forward(published(spec))
    address = {"rest": server.rest_url, "grpc": server.grpc_address}[protocol]
    with serving.Client(address) as client:
        wait_for(client, server.name, version.number)
    report = export.verify(version.path, name=server.name, **{protocol: address})
    assert report.ok, report.problems
    assert all(found.examples for found in report.signatures.values())


@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
def test_the_answer_over_the_wire_is_the_answer_keras_gave(spec, trained, published, server, protocol):
    run, number = trained(spec), brought_forward(published(spec)).number
    raw_signature = run.bundle.preprocessing.signature
    tensors = run.bundle.preprocess(run.examples.raw)
    with serving.Client(server.rest_url if protocol == "REST" else server.grpc_address) as client:
        wait_for(client, server.name, number)
        from_raw = client.predict(server.name, run.examples.raw, signature=raw_signature, version=number)
        from_tensors = client.predict(server.name, tensors, version=number)
    assert_same(from_raw, run.bundle.predict(run.examples.raw))
    assert_same(from_tensors, run.bundle.predict_tensors(tensors))


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
        if value.dtype == object:
            assert [str(word) for word in answer[name]] == [word.decode() for word in value]
        else:
            assert answer[name].dtype == value.dtype
            np.testing.assert_allclose(answer[name], value, rtol=1e-4, atol=1e-5)
