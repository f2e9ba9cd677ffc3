"""Base paths in object stores: a version is there whole or not at all, whatever happens to those who upload it."""

import os
import sys
import threading
from concurrent import futures

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import export
from export import manifest, version
from export.store import Folder
from tests.export import s3_server
from zoo.__main__ import main

FILES = ("SHA256SUMS", "golden/row.npz", "variables/variables.index", "saved_model.pb")
"""Of the small versions that the tests upload, in the order in which they are."""


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """The bucket `models` of an S3 server, which the environment tells of."""
    with s3_server.serving(tmp_path / "s3", "models") as (address, bucket):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
        yield bucket


@pytest.fixture
def base(bucket):
    return version.at("s3://models/m")


@pytest.fixture
def memory():
    """fsspec's own store, empty."""
    yield "memory://served/m"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture(params=["s3", "memory"])
def url(request):
    if request.param == "memory":
        return request.getfixturevalue("memory")
    request.getfixturevalue("bucket")
    return "s3://models/m"


def publish(base, text="mine"):
    """Upload a version of small files; its number."""
    with base.staged() as folder:
        for name in FILES[1:]:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(f"{text}: {name}")
        manifest.write(folder)
        return base.commit(folder)


def objects(bucket):
    """Everything in the bucket, as its base path names it."""
    base = bucket.folder / "m"
    return sorted(path.relative_to(base).as_posix() for path in bucket.folder.rglob("*") if path.is_file())


def of_version(number):
    return sorted(f"{number}/{name}" for name in FILES)


def once(wanted, do):
    """A hook that does something when a key is put for the first time."""
    left = [wanted]

    def hook(method, key):
        if method == "PUT" and key in left:
            left.remove(key)
            do()

    return hook


def refuse(*_):
    raise PermissionError


def test_the_road(url, here, classifier_run):
    """What a person does in a folder, all of it."""
    first = export.publish(classifier_run, url)
    assert first.path == f"{url}/1"
    assert "/models/m:predict" in first.card["example"]
    assert export.publish(classifier_run, url).number == 2
    assert [one.number for one in export.versions(url)] == [1, 2]
    assert export.verify(url).version.number == 2
    report = export.verify(first.path)
    assert report.ok, report.problems
    assert str(report.version.path) == first.path
    assert not export.diff(url, 1, 2).breaking

    again = export.rollback(url)
    assert (again.number, again.card["copy_of"]["version"]) == (3, 1)
    assert export.verify(url).ok
    assert export.prune(url, keep=2) == [1]
    assert [one.number for one in export.versions(url)] == [2, 3]
    with pytest.raises(ValueError, match=r"Unknown version 1.*Accepted: 2, 3"):
        export.rollback(url, to=1)


def test_a_model_that_breaks_the_newest_version_is_refused(memory, here, classifier_run, regressor_run):
    export.publish(classifier_run, memory)
    with pytest.raises(ValueError, match="what asks version 1 would break"):
        export.publish(regressor_run, memory)
    assert [one.number for one in export.versions(memory)] == [1]


def test_whoever_sees_the_graph_sees_a_whole_version(bucket, base):
    """A server that polls looks at any moment, also while versions come and go."""
    unfinished, whole, broken = [], [], []

    def look(method, key):
        for folder in (bucket.folder / "m").glob("[0-9]*"):
            if not (folder / "saved_model.pb").exists():
                unfinished.append(key)
            else:
                (broken if manifest.check(folder) else whole).append(key)

    bucket.before = bucket.after = look
    publish(base)
    publish(base)
    base.prune(keep=1)
    assert not broken
    assert unfinished
    assert whole
    assert objects(bucket) == of_version(2)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", FILES)
def test_an_upload_that_fails_leaves_nothing(bucket, base, name, when):
    """Also if the store has taken the object, but its answer was lost."""
    setattr(bucket, when, once(f"m/1/{name}", refuse))
    with pytest.raises(OSError, match=r"Base path s3://models/m cannot be written: .*AccessDenied"):
        publish(base)
    assert objects(bucket) == []
    assert publish(base) == "1"


@pytest.mark.parametrize("name", FILES)
def test_an_object_that_arrives_otherwise_is_found(bucket, base, name):
    bucket.after = once(f"m/1/{name}", lambda: (bucket.folder / "m/1" / name).write_text("garbled"))
    with pytest.raises(OSError, match=f"{name} arrived otherwise than it was sent"):
        publish(base)
    assert objects(bucket) == []


def test_an_object_that_somebody_deletes_meanwhile_is_missed(bucket, base):
    """Who prunes takes what is unfinished for what a dead publisher left."""
    bucket.before = once("m/1/variables/variables.index", (bucket.folder / "m/1/golden/row.npz").unlink)
    with pytest.raises(OSError, match=r"somebody deleted golden/row.npz from s3://models/m/1 meanwhile"):
        publish(base)
    assert objects(bucket) == []


def test_what_cannot_be_removed_is_told(bucket, base):
    """The connection is gone: the person has to know what is left, though no server loads it."""

    def gone(method, key):
        if key == "m/1/golden/row.npz" or (method == "DELETE" and "trial" not in key):
            raise PermissionError

    bucket.before = gone
    with pytest.raises(OSError, match=r"could not be removed, either; delete s3://models/m/1: .*AccessDenied"):
        publish(base)
    assert objects(bucket) == ["1/SHA256SUMS"]
    assert base.versions() == []


@pytest.mark.parametrize("text", ["mine", "same"])
def test_two_publishers_at_once_get_two_numbers(bucket, base, text):
    """Both have seen that the number is free, and be it that they upload the very same version."""
    together = threading.Barrier(2, timeout=20)
    waiting = ["m/1/SHA256SUMS"] * 2

    def wait(method, key):
        if key in waiting:
            waiting.remove(key)
            together.wait()

    bucket.before = wait
    with futures.ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(publish, version.at("s3://models/m"), words) for words in (text, "same")]
        assert {job.result() for job in jobs} == {"1", "2"}
    assert all(not manifest.check(bucket.folder / "m" / number) for number in "12")


@pytest.mark.parametrize(
    ("moment", "name"),
    [(moment, name) for i, moment in enumerate(FILES) for name in (*FILES[i:], "theirs.txt")],
)
def test_a_number_that_is_taken_by_hand_meanwhile_is_passed_over(bucket, base, moment, name):
    """Whatever they put, and before whichever object of ours: it stays as it is, and nothing of ours lies beside it."""
    theirs = bucket.folder / "m/1" / name

    def put():
        theirs.parent.mkdir(parents=True, exist_ok=True)
        theirs.write_text("theirs")

    bucket.before = once(f"m/1/{moment}", put)
    assert publish(base) == "2"
    assert objects(bucket) == [f"1/{name}", *of_version(2)]
    assert theirs.read_text() == "theirs"


def test_any_object_takes_its_number(bucket, base):
    """TensorFlow Serving asks no more of a version than that its name is a number."""
    (bucket.folder / "m/4").mkdir(parents=True)
    (bucket.folder / "m/4/README.md").write_text("")
    (bucket.folder / "m/0007").write_text("not a folder")
    assert publish(base) == "8"
    assert base.versions() == ["8"]


def test_an_unfinished_version_is_none_and_goes_with_those_as_old(bucket, base):
    """Its publisher was killed."""
    publish(base)
    (bucket.folder / "m/2").mkdir()
    (bucket.folder / "m/2/SHA256SUMS").write_text("")
    assert publish(base) == "3"
    assert [one.number for one in export.versions("s3://models/m")] == [1, 3]
    assert export.prune("s3://models/m", keep=2) == []
    assert export.prune("s3://models/m", keep=1) == [1]
    assert objects(bucket) == of_version(3)


def test_a_damaged_object_is_named(bucket, base):
    publish(base)
    (bucket.folder / "m/1/golden/row.npz").write_text("")
    assert export.verify("s3://models/m").problems == ("golden/row.npz: changed",)
    publish(base)
    with pytest.raises(ValueError, match=r"Version 1 is not what was published: golden/row.npz: changed"):
        export.rollback("s3://models/m")


def test_no_object_is_written_outside_of_its_folder(memory, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    files = fsspec.filesystem("memory")
    files.pipe({"/served/m/1/saved_model.pb": b"", "/served/m/1/../../../evil": b""})
    with pytest.raises(OSError, match="would be written outside"):
        export.verify(memory)
    assert not list(tmp_path.iterdir())


def test_a_bucket_that_cannot_be_written_is_told_at_once(bucket, image_run):
    """Before the minutes that a proof may take, and in one line."""
    with pytest.raises(OSError, match=r"^Base path s3://nowhere/m cannot be written: .*NoSuchBucket.*$"):
        export.publish(image_run, "s3://nowhere/m")
    bucket.before = refuse
    with pytest.raises(OSError, match=r"^Base path s3://models/m cannot be written: .*AccessDenied.*$"):
        export.publish(image_run, "s3://models/m")
    with pytest.raises(OSError, match=r"^Base path s3://nowhere/m cannot be read: .*NoSuchBucket.*$"):
        export.versions("s3://nowhere/m")


def test_a_store_that_overwrites_is_refused(memory, image_run, monkeypatch):
    """Two publishers could take the same number."""

    class Careless(MemoryFileSystem):
        def put_file(self, lpath, rpath, mode="overwrite", **kwargs):
            super().put_file(lpath, rpath, **kwargs)

    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "memory", Careless)
    with pytest.raises(OSError, match="two publishers could take the same number"):
        export.publish(image_run, memory)
    assert not MemoryFileSystem.store


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("s4://models/m", r"Unknown scheme of a base path 's4'. Did you mean 's3'\? Accepted: .*gs.*memory"),
        ("s3://", "s3: names no place"),
        ("s3:/models/m", "neither a folder nor a URL; a pathlib.Path takes"),
    ],
)
def test_a_url_that_is_none(path, message, image_run):
    for call in (export.versions, export.verify, lambda path: export.publish(image_run, path)):
        with pytest.raises(ValueError, match=message):
            call(path)
    assert not os.path.exists("s3:")


def test_the_url_of_a_folder_is_a_folder(tmp_path):
    assert version.at(f"file://{tmp_path}") == Folder(tmp_path)


@pytest.mark.parametrize(("scheme", "extra"), [("s3", "s3"), ("gs", "gcs"), ("az", "azure")])
def test_a_missing_extra_is_named(scheme, extra, monkeypatch, capsys):
    for module in ("export.s3", "gcsfs", "adlfs"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("sys.argv", ["zoo", "versions", f"{scheme}://models/m"])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert capsys.readouterr().err == (
        f"Error: What reaches {scheme}:// is not installed: pip install servable-zoo[{extra}]\n"
    )
