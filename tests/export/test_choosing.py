"""Which variant is published: those that prove themselves are measured, and the best takes the plain one's place."""

import numpy as np
import pytest
import tensorflow as tf

import export
from export import fresh_process, objective, saved_model, timing, variants, warmup
from export.rewriting import weights, writing
from export.rewriting.graph import Graph
from export.variants import Declined, Variant
from tests.export import small_runs

KEYS = tuple(f"{signature}@{size}" for signature in ("classify", "row", "serving_default") for size in (1, 8))


@pytest.fixture
def run():
    return small_runs.table_run()


@pytest.fixture
def taking(here, monkeypatch):
    """Give variants the times, in seconds, that a table says: by name, of all requests or by `timing.key`."""

    def set_times(**times):
        def measure(folders, examples, batch_sizes):
            assert all((folder / "saved_model.pb").is_file() for folder in folders.values())
            found = {}
            for name in folders:
                of = times.get(name, 1.0)
                of = of if isinstance(of, dict) else dict.fromkeys(KEYS, of)
                found[name] = {key: np.array([value]) for key, value in {**of, "load": 0.1, "first": 0.2}.items()}
            return found

        monkeypatch.setattr(timing, "measure", measure)

    return set_times


@pytest.fixture
def only(monkeypatch):
    """Let there be no other variants than those given."""

    def set_variants(*those):
        monkeypatch.setattr(objective, "VARIANTS", {variant.name: variant for variant in those})

    return set_variants


def verdicts(version):
    return {trial["variant"]: trial["verdict"] for trial in version.card["optimization"]["tried"]}


def test_the_quickest_takes_the_place_of_the_plain_version(run, taking, tmp_path):
    taking(frozen=0.8, rewritten=0.5)
    version = export.publish(run, tmp_path / "served", optimize=["frozen", "rewritten"])
    assert version.card["optimization"]["variant"] == "rewritten"
    assert verdicts(version) == {
        "plain": "not better: 1.00 of the plain version's time",
        "frozen": "not better: 0.80 of the plain version's time",
        "rewritten": "published",
    }
    assert not {"variables", "fingerprint.pb"} & {path.name for path in version.path.iterdir()}
    assert not [path for path in version.path.rglob("*") if path.name.startswith(".")]
    assert saved_model.describe(version.path) == version.card["signatures"]
    assert export.verify(version.path).ok
    assert export.inspect(version.path).problems == ()
    assert (version.path / "saved_model.pb").stat().st_size == tried(version, "rewritten")["bytes"]


def tried(version, name):
    return next(trial for trial in version.card["optimization"]["tried"] if trial["variant"] == name)


def test_the_plain_version_stays_where_nothing_is_clearly_better(run, taking, tmp_path):
    taking(frozen=0.96, rewritten=1.3)
    version = export.publish(run, tmp_path / "served", optimize="latency")
    assert version.card["optimization"]["variant"] == "plain"
    assert verdicts(version)["frozen"] == "not better: 0.96 of the plain version's time"
    assert (version.path / "variables").is_dir()
    assert export.verify(version.path).ok


@pytest.mark.parametrize(("objective", "chosen"), [("latency", "frozen"), ("throughput", "rewritten")])
def test_an_objective_looks_at_its_batch_size(run, taking, tmp_path, objective, chosen):
    at_one, at_eight = ({key: 0.5 if size in key else 1.0 for key in KEYS} for size in ("@1", "@8"))
    taking(frozen=at_one, rewritten=at_eight)
    assert export.publish(run, tmp_path / "served", optimize=objective).card["optimization"]["variant"] == chosen


def test_size_is_what_lies_on_the_disk(run, taking, tmp_path):
    taking(frozen=3.0, rewritten=3.0, bfloat16=3.0)
    version = export.publish(run, tmp_path / "served", optimize="size")
    sizes = {trial["variant"]: trial["bytes"] for trial in version.card["optimization"]["tried"] if trial["bytes"]}
    assert version.card["optimization"]["variant"] == min(sizes, key=sizes.get) != "plain"


def test_a_wrong_variant_is_not_published_however_quick(run, taking, only, tmp_path):
    only(Variant("one weight", lambda material: changed(material.frozen)))
    taking(**{"one weight": 0.1})
    version = export.publish(run, tmp_path / "served", optimize="latency")
    assert version.card["optimization"]["variant"] == "plain"
    assert verdicts(version)["one weight"].startswith("wrong: the version does not answer as Keras does.\nSignature")
    assert "one weight" not in [t["variant"] for t in version.card["optimization"]["tried"] if t["milliseconds"]]


def changed(frozen, by=2.0):
    """The same with a factor on the kernels of its matrix products."""

    def change(graph_def, kept):
        graph = Graph(graph_def, kept)
        for product in graph.of_op("MatMul"):
            product.input[1] = graph.add_constant("changed", np.float32(by) * graph.constant(product.input[1]))
        return graph.finished()

    return frozen.after(change)


def test_a_variant_that_a_model_does_not_have_says_why(run, taking, only, tmp_path):
    def decline(material):
        raise Declined("it has no weights of this kind")

    only(Variant("rare", decline), *variants.VARIANTS.values())
    taking(frozen=0.5)
    version = export.publish(run, tmp_path / "served", optimize="latency")
    assert verdicts(version)["rare"] == "declined: it has no weights of this kind"
    assert version.card["optimization"]["variant"] == "frozen"


def test_a_variant_that_tensorflow_fails_to_make_is_declined(run, taking, only, tmp_path):
    def fail(material):
        raise tf.errors.InvalidArgumentError(None, None, "the loop's state has another dtype")

    only(Variant("rare", fail))
    taking()
    version = export.publish(run, tmp_path / "served", optimize="latency")
    assert verdicts(version)["rare"] == "declined: it cannot be made: the loop's state has another dtype"
    assert verdicts(version)["plain"] == "published"


def test_what_is_large_for_a_graph_is_published_with_variables(run, taking, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "LARGE", 1)
    monkeypatch.setattr(writing, "MOST", 0)
    taking(rewritten=0.5)
    version = export.publish(run, tmp_path / "served", optimize=["rewritten"])
    assert version.card["optimization"]["variant"] == "rewritten"
    assert (version.path / "variables" / "variables.index").is_file()
    assert saved_model.describe(version.path) == version.card["signatures"]
    assert export.verify(version.path).ok
    assert export.inspect(version.path).problems == ()


def test_less_precision_takes_many_examples(taking, only, tmp_path):
    only(Variant("coarse", lambda material: material.frozen, "bfloat16"))
    taking(coarse=0.5)
    few = export.publish(small_runs.table_run(), tmp_path / "few", optimize="latency")
    assert verdicts(few)["coarse"] == ("declined: of less precision; that takes 256 examples to prove, the Run has 10")
    many = export.publish(small_runs.table_run(count=256), tmp_path / "many", optimize="latency")
    assert many.card["optimization"]["variant"] == "coarse"
    assert many.proof["signatures"]["row"]["examples"] == 64 + len(many.proof["edge_cases"])
    allowed = {v.number: v.proof["signatures"]["row"]["outputs"]["probabilities"]["tolerance"] for v in (few, many)}
    assert allowed[1]["relative"] >= 8 * 2**-7
    assert export.verify(many.path).ok


def test_less_precision_must_keep_the_classes(taking, only, tmp_path):
    """The tolerance of bfloat16 lets this through; what classes it gives does not."""
    only(Variant("coarse", lambda material: changed(material.frozen, 1.12), "bfloat16"))
    taking(coarse=0.5)
    version = export.publish(small_runs.table_run(count=256), tmp_path / "served", optimize="latency")
    assert verdicts(version)["coarse"].startswith("wrong: the same class in ")
    assert version.card["optimization"]["variant"] == "plain"


def test_a_variant_that_ends_the_process_does_not_end_the_publishing(run, tmp_path, monkeypatch):
    class Nothing:
        def write(self, folder):
            folder.mkdir()
            (folder / "saved_model.pb").write_bytes(b"no SavedModel")

    monkeypatch.setattr(
        objective, "VARIANTS", {"broken": Variant("broken", lambda material: Nothing()), **variants.VARIANTS}
    )
    monkeypatch.setattr(timing, "SECONDS", 0.0)
    with fresh_process.kept():
        version = export.publish(run, tmp_path / "served", optimize=["broken", "frozen"])
    assert verdicts(version)["broken"].startswith("failed: ")
    assert set(tried(version, "frozen")["milliseconds"]) == set(KEYS)


def test_what_is_measured_is_every_signature_at_every_batch_size(run, here, tmp_path):
    version = export.publish(run, tmp_path / "served", batch_sizes=[2, 3, 5])
    found = timing.measure({"a": version.path, "b": version.path}, version.path, [1, 8], seconds=0)
    assert set(found) == {"a", "b"}
    assert {name: len(times) for name, times in found["a"].items()} == {
        "load": 1,
        "first": 1,
        **dict.fromkeys(KEYS, timing.LEAST_ROUNDS),
    }
    assert all((times > 0).all() for of in found.values() for times in of.values())
    assert [len(next(iter(inputs.values()))) for _, inputs in warmup.read(version.path)] == [2, 3, 5] * 3


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"optimize": "speed"}, "Unknown optimization 'speed'"),
        ({"optimize": ["frozen", "latency"]}, "Unknown optimization 'latency'"),
        ({"optimize": []}, "at least one variant"),
        ({"batch_sizes": []}, "batch_sizes must be whole numbers"),
        ({"batch_sizes": [0]}, "batch_sizes must be whole numbers"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_made(run, tmp_path, wrong, match):
    with pytest.raises(ValueError, match=match):
        export.publish(run, tmp_path / "served", **wrong)
    assert not (tmp_path / "served").exists()
