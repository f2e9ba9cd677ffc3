"""Hashes of a version: equal for equal exports, whatever TensorFlow has counted in between, and for no others."""

import numpy as np
import pytest

import export
import zoo
from export import saved_model
from export.hashes import of_graph
from export.rewriting.freezing import freeze
from tests import writers
from tests.export import small_runs

RUNS = {
    "pictures": small_runs.image_run,
    "words": lambda: small_runs.text_run("words"),
    "writer": lambda: small_runs.writing_run(writers.gpt),
}


def meta_graph(folder):
    return saved_model.read(folder / saved_model.PROTO).meta_graphs[0]


def hash_of(meta):
    return of_graph(meta, meta.graph_def.node)


@pytest.mark.parametrize("kind", ["pictures", "words", pytest.param("writer", marks=pytest.mark.slow)])
def test_equal_exports_have_equal_hashes(kind, here, tmp_path):
    run = RUNS[kind]()
    versions = [export.publish(run, tmp_path / "served") for _ in range(2)]
    assert versions[0].card["hashes"] == versions[1].card["hashes"]
    frozen = []
    for version in versions:
        freeze(version.path, tmp_path).write(tmp_path / f"frozen{version.number}")
        frozen.append(hash_of(meta_graph(tmp_path / f"frozen{version.number}")))
    assert frozen[0] == frozen[1] != versions[0].card["hashes"]["graph"]


def test_what_differs_has_another_hash(here, tmp_path):
    first, second = small_runs.image_run(), small_runs.image_run()
    small_runs.scrambled(second.model, seed=1)
    other = small_runs.image_run(zoo.build("lenet5", input_shape=(12, 12, 1), num_classes=3, activation="relu"))
    found = [export.publish(run, tmp_path / str(i)).card["hashes"] for i, run in enumerate((first, second, other))]
    same = [{what: found[0][what] == one[what] for what in one} for one in found[1:]]
    assert same == [
        {"graph": True, "signatures": True, "weights": False},
        {"graph": False, "signatures": True, "weights": True},
    ]


@pytest.mark.parametrize("change", ["operation", "inputs", "attribute", "constant"])
def test_every_part_of_a_node_counts(change, classifier_version):
    meta = meta_graph(classifier_version.path)
    before = hash_of(meta)
    nodes = [node for function in meta.graph_def.library.function for node in function.node_def]
    if change == "operation":
        next(node for node in nodes if node.op == "Sub").op = "AddV2"
    elif change == "inputs":
        node = next(node for node in nodes if node.op == "Sub")
        node.input[:2] = [node.input[1], node.input[0]]
    elif change == "attribute":
        next(node for node in nodes if node.op == "MatMul").attr["transpose_b"].b = True
    else:
        tensor = next(
            node.attr["value"].tensor for node in nodes if node.op == "Const" and node.attr["value"].tensor.float_val
        )
        tensor.float_val[0] = np.nextafter(np.float32(tensor.float_val[0]), np.float32(9))
    assert hash_of(meta) != before


def test_names_and_order_count_for_nothing(classifier_version):
    meta = meta_graph(classifier_version.path)
    before = hash_of(meta)
    function = max(meta.graph_def.library.function, key=lambda function: len(function.node_def))
    renamed = function.node_def[0].name
    for node in function.node_def:
        for i, edge in enumerate(node.input):
            name, *rest = edge.removeprefix("^").split(":")
            if name == renamed:
                node.input[i] = ":".join(["^" * edge.startswith("^") + "another", *rest])
    function.node_def[0].name = "another"
    reversed_ = list(function.node_def)[::-1]
    del function.node_def[:]
    function.node_def.extend(reversed_)
    assert hash_of(meta) == before
