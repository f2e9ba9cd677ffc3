"""CSV files as data: the separators, names and gaps that people's files have."""

import numpy as np
import pytest

from recipes.data import load

BINARY = {"task": "binary-classification"}


def write(folder, text, name="table.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def flowers(n=20, header="Sepal length (cm),petalWidth,species"):
    rows = [f"{i},{i / 2},{'rose' if i % 2 else 'iris'}" for i in range(n)]
    return "\n".join([header, *rows]) + "\n"


def examples(part):
    return [(x.tolist(), y.tolist()) for x, y in part.as_numpy_iterator()]


def test_a_target_column_and_numbers_are_all_it_takes(tmp_path):
    path = write(tmp_path, flowers())
    data = load(path, target="species", **BINARY)
    assert (data.kind, data.name, data.labels, data.target) == ("table", str(path), ("iris", "rose"), "species")
    assert data.columns == ("sepal_length_cm", "petal_width")
    assert data.sizes == {"train": 16, "validation": 2, "test": 2}
    assert all(y == x[0] % 2 and x[1] == x[0] / 2 for part in data.parts.values() for x, y in examples(part))


def test_a_path_may_be_a_string(tmp_path):
    assert load(str(write(tmp_path, flowers(header="a,b,label"))), **BINARY).columns == ("a", "b")


@pytest.mark.parametrize("name", ["target", "label", "class", "y", "Label"])
def test_usual_names_of_the_target_are_found(tmp_path, name):
    data = load(write(tmp_path, flowers(header=f"a,b,{name}")), **BINARY)
    assert data.labels == ("iris", "rose")


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_other_separators_are_seen_in_the_header(tmp_path, separator):
    data = load(write(tmp_path, flowers(header="a,b,label").replace(",", separator)), **BINARY)
    assert data.columns == ("a", "b")


def test_the_mark_that_spreadsheets_put_first_is_no_part_of_a_name(tmp_path):
    assert load(write(tmp_path, "\ufeff" + flowers(header="a,b,label")), **BINARY).columns == ("a", "b")


def test_a_regression_reads_its_target_as_a_number(tmp_path):
    path = write(tmp_path, "x,y\n" + "".join(f"{i},{2 * i + 1}\n" for i in range(12)))
    data = load(path, task="regression", validation=0, test=0)
    assert (data.labels, data.target) == (None, "y")
    assert examples(data.parts["train"])[3] == ([3.0], [7.0])


def test_numbered_classes_are_sorted_by_value(tmp_path):
    path = write(tmp_path, "x,label\n" + "".join(f"{i},{(9, 10, 2)[i % 3]}\n" for i in range(12)))
    data = load(path, task="image-classification", validation=0, test=0)
    assert data.labels == ("2", "9", "10")
    assert [y for _, y in examples(data.parts["train"])][:3] == [1, 2, 0]


def test_a_class_may_be_called_na(tmp_path):
    path = write(tmp_path, "x,label\n" + "".join(f"{i},{'NA' if i % 2 else 'EU'}\n" for i in range(12)))
    assert load(path, **BINARY).labels == ("EU", "NA")


def test_columns_that_would_get_one_name_get_two(tmp_path):
    data = load(write(tmp_path, flowers(header="a b,a-b,label")), **BINARY)
    assert data.columns == ("a_b", "a_b_2")


def test_the_fingerprint_changes_with_a_cell(tmp_path):
    before = load(write(tmp_path, flowers(), "a.csv"), target="species", **BINARY).fingerprint
    same = load(write(tmp_path, flowers(), "b.csv"), target="species", **BINARY).fingerprint
    after = load(write(tmp_path, flowers().replace("3,1.5", "3,1.6"), "c.csv"), target="species", **BINARY).fingerprint
    assert before == same != after


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (flowers(), {}, r"Name the target column .* none of target.*Columns: Sepal length \(cm\), petalWidth, species"),
        (flowers(), {"target": "specie"}, r"Unknown target column of .* 'specie'. Did you mean 'species'"),
        (flowers(header="y,b,label"), {}, r"it has both y and label"),
        (flowers(header="a,b,label").replace("5,2.5", "5,"), {}, r"'b' .* a missing value, first in row 6"),
        (flowers(header="a,b,label").replace("5,2.5", "5,NaN"), {}, r"'b' .* a missing value, first in row 6"),
        (flowers(header="a,b,label").replace("5,2.5", "5,inf"), {}, r"'b' .* no finite number, first in row 6"),
        (flowers(header="a,b,label").replace("5,2.5", "5,tall"), {}, r"'b' .* 'tall'.*first in row 6"),
        (flowers(header="a,b,label").replace("2.5,rose", "2.5,"), {}, r"'label' .* a missing value, first in row 6"),
        (flowers(header="a,b,label").replace("iris", "rose"), {}, r"exactly 2 classes.*has 1: rose\."),
        ("label\n1\n0\n", {}, r"no column beside the target 'label'"),
        ("", {}, r"is no CSV file"),
        ("a,label\n1,2,3\n", {}, r"is no CSV file"),
        ("a,label\n", {}, r"exactly 2 classes"),
        ("x,y\n" + "1,0.5\n2,1.5\n" * 6, {}, r"fractions, which are no classes"),
    ],
)
def test_a_file_that_cannot_be_trained_on_is_refused(tmp_path, text, options, message):
    with pytest.raises(ValueError, match=message):
        load(write(tmp_path, text), **BINARY, **options)


def test_a_target_without_its_number_names_the_row(tmp_path):
    with pytest.raises(ValueError, match=r"'y' .* a missing value, first in row 2"):
        load(write(tmp_path, "x,y\n1,2\n3,\n"), task="regression")


def test_a_file_in_another_encoding_is_refused_in_words(tmp_path):
    path = tmp_path / "latin.csv"
    path.write_bytes("gr\xf6\xdfe,label\n1,2\n".encode("latin-1"))
    with pytest.raises(ValueError, match="is no CSV file"):
        load(path, **BINARY)


@pytest.mark.parametrize("name", ["missing.csv", "./missing", "~/no/such/folder"])
def test_a_path_that_is_not_there_is_told_so(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"no file or folder '{name}'"):
        load(name, **BINARY)


def test_columns_are_float32(tmp_path):
    data = load(write(tmp_path, "a,b,label\n" + "1,True,0\n2,False,1\n" * 6), **BINARY)
    x, y = next(data.parts["train"].as_numpy_iterator())
    assert (x.dtype, y.dtype) == (np.float32, np.int64)
