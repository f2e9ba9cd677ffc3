"""What `zoo data check` finds in folders, tables, texts and arrays: each fault alone, and none where there is none."""

import json
import re
import shutil

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

import recipes
from recipes.data import load, overview
from recipes.data.checks import census, report
from recipes.report_commands import data as command

CLASSES = {"task": "image-classification"}


def check(data, **options):
    return recipes.check_data(data, verbose=False, **options)


def found(report):
    return {finding.kind: finding.count for finding in report.findings}


def places(report, kind):
    (finding,) = (one for one in report.findings if one.kind == kind)
    return [str(place) for place in finding.places]


def noise(path, seed, mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 10, 3), np.uint8)
    PIL.Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


@pytest.fixture
def animals(tmp_path):
    """Two classes in two parts, JPEG and PNG, of which no two are the same."""
    for number in range(20):
        part, label = ("train", "test")[number >= 12], ("cat", "dog")[number % 2]
        noise(tmp_path / part / label / f"{number}.{'jpg' if number % 3 else 'png'}", number)
    return tmp_path


def test_a_folder_without_faults(animals):
    found_of_it = check(animals)
    assert found_of_it.ok
    assert found_of_it.findings == ()
    assert (found_of_it.task, found_of_it.kind) == ("image-classification", "image")
    assert found_of_it.examples == {"train": 12, "test": 8}
    assert found_of_it.classes == {"train": {"cat": 6, "dog": 6}, "test": {"cat": 4, "dog": 4}}
    assert found_of_it.measures["height"] == report.Spread(12, 12, 12)


def cut(fraction):
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "harm", "kind"),
    [
        ("4.jpg", cut(0.5), "corrupt"),
        ("4.jpg", cut(0.95), "corrupt"),
        ("0.png", cut(0.5), "corrupt"),
        ("0.png", flip, "corrupt"),
        ("0.png", lambda path: path.write_bytes(b""), "empty"),
        ("0.png", lambda path: path.write_text("no picture"), "corrupt"),
        ("0.png", lambda path: PIL.Image.new("L", (4, 4)).save(path, "GIF"), "corrupt"),
    ],
    ids=["half a JPEG", "nearly all of a JPEG", "half a PNG", "one wrong byte", "nothing", "a text", "a GIF"],
)
def test_a_file_that_training_refuses_is_an_error(animals, name, harm, kind):
    harm(animals / "train" / "cat" / name)
    found_of_it = check(animals)
    assert found(found_of_it) == {kind: 1}
    assert places(found_of_it, kind)[0].startswith(f"train/cat/{name}")
    assert not found_of_it.ok
    with pytest.raises(ValueError, match=name):
        load(animals, **CLASSES)


def test_copies_leaks_and_second_labels(animals):
    train, test = animals / "train", animals / "test"
    shutil.copy(train / "cat" / "0.png", train / "cat" / "copy.png")
    PIL.Image.open(train / "cat" / "6.png").save(train / "cat" / "repacked.png", compress_level=0)
    shutil.copy(train / "cat" / "2.jpg", test / "cat" / "leaked.jpg")
    shutil.copy(train / "cat" / "4.jpg", test / "dog" / "twice.jpg")
    found_of_it = check(animals)
    assert found(found_of_it) == {"leak": 2, "two-labels": 1, "duplicate": 1, "same-content": 1}
    assert places(found_of_it, "duplicate") == ["train/cat/0.png = train/cat/copy.png"]
    assert places(found_of_it, "same-content") == ["train/cat/6.png = train/cat/repacked.png"]
    assert places(found_of_it, "leak")[0] == "train/cat/2.jpg = test/cat/leaked.jpg"
    assert places(found_of_it, "two-labels") == ["train/cat/4.jpg = test/dog/twice.jpg (cat, dog)"]


def test_grey_is_the_same_in_colour(tmp_path):
    noise(tmp_path / "cat" / "grey.png", 0, "L")
    PIL.Image.open(tmp_path / "cat" / "grey.png").convert("RGB").save(tmp_path / "cat" / "colour.png")
    noise(tmp_path / "dog" / "other.png", 1)
    assert found(check(tmp_path)) == {"same-content": 1}


def test_what_training_does_not_read_is_remarked_on(animals):
    (animals / "train" / "Thumbs.db").write_bytes(b"x")
    (animals / "train" / "cat" / "notes.txt").write_text("x")
    (animals / "train" / "cat" / ".hidden.png").write_text("x")
    (animals / "train" / "cat" / "link.png").symlink_to("nowhere.png")
    found_of_it = check(animals)
    assert found_of_it.ok
    expected = ["train/Thumbs.db", "train/cat/link.png (broken link)", "train/cat/notes.txt"]
    assert places(found_of_it, "ignored") == expected


def test_classes_that_training_refuses(animals):
    noise(animals / "test" / "wolf" / "0.png", 50)
    found_of_it = check(animals)
    assert "wolf" in places(found_of_it, "refused")[0]
    assert places(found_of_it, "absent") == ["(wolf in train)"]


def test_classes_of_very_different_sizes(tmp_path):
    noise(tmp_path / "rare" / "0.png", 0)
    for number in range(1, 11):
        noise(tmp_path / "usual" / f"{number}.png", number)
    found_of_it = check(tmp_path)
    assert found_of_it.ok
    assert places(found_of_it, "imbalance") == ["(usual: 10, rare: 1)"]


def test_masks_belong_to_pictures(tmp_path):
    for number in range(3):
        noise(tmp_path / "images" / f"{number}.jpg", number)
        PIL.Image.new("L", (10, 12), number).save(noise(tmp_path / "masks" / f"{number}.png", number, "L"))
    assert check(tmp_path).task == "semantic-segmentation"
    assert check(tmp_path).ok
    (tmp_path / "masks" / "1.png").unlink()
    assert "1.jpg has no mask" in places(check(tmp_path), "refused")[0]


def test_pictures_alone(tmp_path):
    noise(tmp_path / "a.png", 0)
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    found_of_it = check(tmp_path)
    assert (found_of_it.task, found_of_it.classes) == ("image-generation", None)
    assert found(found_of_it) == {"duplicate": 1}


def test_a_folder_within_itself_ends(animals):
    (animals / "train" / "cat" / "again").symlink_to(animals)
    assert check(animals).examples == {"train": 12, "test": 8}


def test_texts_in_a_folder(tmp_path):
    for part, label, name, content in (
        ("train", "good", "0", "nice"),
        ("train", "good", "1", " \n"),
        ("train", "bad", "2", "dull"),
        ("train", "bad", "3", b"\xff\xfe"),
        ("test", "good", "4", "nice\n"),
        ("test", "bad", "5", "dire"),
    ):
        path = tmp_path / part / label / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found_of_it = check(tmp_path)
    assert found_of_it.task == "text-classification"
    assert found(found_of_it) == {"empty": 1, "leak": 1, "encoding": 1}
    assert places(found_of_it, "leak") == ["train/good/0.txt = test/good/4.txt"]


def test_a_table(tmp_path):
    path = tmp_path / "table.csv"
    rows = [f"{i},{i % 3},True,7,{'yes' if i % 2 else 'no'}" for i in range(20)]
    rows += ["3,0,True,7,yes", "4.0,1,True,7,yes", ",1,True,7,no", "5,x,False,7,", "6,inf,True,7,no"]
    path.write_text("\n".join(["a,b,flag,always,label", *rows]))
    found_of_it = check(path)
    assert found_of_it.task == "binary-classification"
    assert found_of_it.classes == {"train": {"no": 12, "yes": 12}}
    assert found(found_of_it) == {
        "missing": 2,
        "not-a-number": 2,
        "duplicate": 2,
        "contradiction": 1,
        "constant": 1,
    }
    assert places(found_of_it, "missing") == ["a (1, first in row 23)", "label (1, first in row 24)"]
    assert places(found_of_it, "not-a-number") == ["b (2, first in row 24 ('x'))"]
    assert places(found_of_it, "duplicate") == ["row 4 = row 21", "row 5 = row 22"]
    assert places(found_of_it, "contradiction") == ["row 5 = row 22 (no, yes)"]
    assert places(found_of_it, "constant") == ["always (always 7)"]


def test_a_table_in_pieces_is_the_same_table(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    path.write_text("a,target\n" + "\n".join(f"{i % 7},{i % 5}.5" for i in range(70)))
    whole = check(path)
    monkeypatch.setattr("recipes.data.checks.tables.PIECE", 9)
    assert check(path) == whole
    assert (whole.task, whole.examples, found(whole)) == ("regression", {"train": 70}, {"duplicate": 35})


@pytest.mark.parametrize(
    ("content", "kind", "task"),
    [
        ("text,label\nyes,a\nno,b\nyes ,b\nwell,a\n", "two-labels", "text-classification"),
        ("text,label\nyes,a\nno,b\n ,b\nwell,a\n", "empty", "text-classification"),
        ("text,label\nyes,a\nno,b\nso,\nwell,a\n", "missing", "text-classification"),
        ("source,target\none,eins\ntwo,zwei\none,ein\none,eins\n", "duplicate", "sequence-to-sequence"),
        ("text,other\none,1\ntwo,2\n", None, "language-modeling"),
    ],
)
def test_texts_in_a_table(content, kind, task, tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text(content)
    found_of_it = check(path)
    assert found_of_it.task == task
    assert found(found_of_it).get(kind, 0) == (kind is not None)


@pytest.mark.parametrize(
    ("content", "said"),
    [("a,label\n1,x\n2,x\n", "at least 2 classes|exactly 2"), ("a,target\n", "has 0"), ("text\n", "no example")],
)
def test_a_table_that_training_refuses_as_a_whole(content, said, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(content)
    assert re.search(said, places(check(path), "refused")[0])


def test_running_text_may_repeat_itself(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("a\n\nb\n\na\n" * 5)
    found_of_it = check(path)
    assert found_of_it.ok
    assert found_of_it.findings == ()
    assert found_of_it.examples == {"train": 25}


def test_arrays():
    x = np.random.default_rng(0).integers(0, 256, (30, 4, 4), np.uint8)
    y = np.arange(30) % 2
    x[7], x[25] = x[5], x[6]
    found_of_it = check(((x[:20], y[:20]), (x[20:], y[20:])), **CLASSES)
    assert found(found_of_it) == {"leak": 1, "two-labels": 1, "duplicate": 1}
    assert places(found_of_it, "leak") == ["train[6] = test[5]"]
    assert places(found_of_it, "duplicate") == ["train[5] = train[7]"]
    with pytest.raises(ValueError, match="Say task="):
        check((x, y))


def test_rows_of_a_regression_are_the_same_with_the_same_target():
    x = np.array([[1.0], [1.0], [1.0], [2.0]], np.float32)
    found_of_it = check((x, np.array([1.0, 1.0, 5.0, 2.0])), task="regression")
    assert found(found_of_it) == {"duplicate": 1}


def test_a_named_data_set(data_dir):
    found_of_it = check("gates/and", data_dir=data_dir)
    assert (found_of_it.task, found_of_it.examples) == ("binary-classification", {"train": 4, "test": 4})
    assert found(found_of_it) == {"leak": 4}  # its four rows are all there is


def test_a_finding_counts_what_it_does_not_list(monkeypatch):
    monkeypatch.setattr("recipes.data.checks.survey.LISTED", 3)
    x = np.repeat(np.arange(10, dtype=np.float32), 50)
    (finding,) = check((x, x), task="regression").findings
    assert (finding.kind, finding.count, len(finding.places)) == ("duplicate", 490, 3)
    assert str(finding.places[0]).endswith("(and 30 more)")
    x = np.repeat(np.arange(2, dtype=np.float32), 50)
    (leak, _) = check(((x, x), (x[:1], x[:1])), task="regression").findings
    assert (leak.kind, leak.count, leak.places[0].examples[:2]) == ("leak", 1, ("train[0]", "test[0]"))


def test_groups_and_repeats_are_those_that_counting_finds():
    rng = np.random.default_rng(0)
    for size in (0, 1, 40):
        contents = [bytes([value]) * 16 for value in rng.integers(0, 15, size)]
        parts = np.sort(rng.integers(0, 3, size)).astype(np.int8)
        same = list(census.groups(np.array(contents, "S16")))
        assert [list(group) for group in same] == [
            [i for i in range(size) if contents[i] == content]
            for content in dict.fromkeys(contents)
            if contents.count(content) > 1
        ]
        copies, leaks = np.zeros(3, int), np.zeros(3, int)
        for i in range(size):
            copies[parts[i]] += contents[i] in [contents[j] for j in range(i) if parts[j] == parts[i]]
            leaks[parts[i]] += contents[i] in [contents[j] for j in range(size) if parts[j] < parts[i]]
        assert [list(of) for of in census.repeats(parts, 3, same)] == [list(copies), list(leaks)]


def test_the_command_tells_and_exits(animals):
    assert CliRunner().invoke(command, ["check", str(animals)]).exit_code == 0
    shutil.copy(animals / "train" / "cat" / "0.png", animals / "test" / "cat" / "leaked.png")
    told = CliRunner().invoke(command, ["check", str(animals)])
    assert told.exit_code == 1
    assert "train/cat/0.png = test/cat/leaked.png" in told.stdout
    record = json.loads(CliRunner().invoke(command, ["check", str(animals), "--json"]).stdout)
    assert record["ok"] is False
    assert record["examples"] == {"train": 12, "test": 9}
    (finding,) = record["findings"]
    assert (finding["kind"], finding["severity"], finding["count"]) == ("leak", "error", 1)
    assert finding["places"][0]["examples"] == ["train/cat/0.png", "test/cat/leaked.png"]


def test_a_run_records_what_is_quickly_seen_of_its_data(tmp_path, capsys):
    x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    x[1], x[35] = x[0], x[2]
    y = np.where(x[:, 0] > 0, "up", "down")
    run = recipes.binary_classification(
        "logistic_regression", ((x[:30], y[:30]), (x[30:], y[30:])), validation=0, epochs=1, run_dir=tmp_path / "run"
    )
    about = recipes.load_run(run.dir).facts["data"]
    assert about["classes"]["train"] == {name: int((y[:30] == name).sum()) for name in ("down", "up")}
    assert about["duplicates"] == {"train": 1, "test": 0}
    assert about["leaks"] == {"test": 1}
    assert about["drawn"] == []
    assert "copies within parts: 1; examples of the test part that are in one before it: 1" in capsys.readouterr().out


def test_the_overview_of_files_is_of_their_bytes(animals):
    shutil.copy(animals / "train" / "cat" / "0.png", animals / "test" / "cat" / "leaked.png")
    data = load(animals, validation=0, **CLASSES)
    seen = overview.of(data, "image-classification")
    assert seen["classes"]["test"] == {"cat": 5, "dog": 4}
    assert (seen["duplicates"], seen["leaks"]) == ({"train": 0, "test": 0}, {"test": 1})


def test_what_would_take_long_is_left_out(data_dir, monkeypatch):
    data = load("gates/and", task="binary-classification", data_dir=data_dir)
    assert overview.of(data, "binary-classification")["leaks"] == {"test": 4}
    monkeypatch.setattr(overview, "READ", 3)
    assert overview.of(data, "binary-classification") == {}
    x = np.zeros((20, 9), np.float32)
    monkeypatch.setattr(overview, "BYTES", 99)
    of_arrays = overview.of(load((x, np.arange(20) % 2), task="binary-classification"), "binary-classification")
    assert of_arrays.keys() == {"classes"}
