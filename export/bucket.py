"""Base paths in an object store: S3, Google Cloud Storage, Azure Blob Storage, or whatever fsspec reaches.

Such a store has no rename and no lock, but objects that appear whole, and it creates one only where there is none if
it is asked to. So:

- A version is made and proved in a folder of this machine, then uploaded. Its first object, `SHA256SUMS`, takes the
  number: of two publishers one can create it. No object is ever overwritten, but for a signature that is given later.
- `saved_model.pb` is uploaded last and removed first. A folder without it is no version.
- Every object is read back, and hashed, before the next one is sent.
- If anything fails, what was uploaded is removed.

TensorFlow Serving takes a number for a version as soon as it has an object (`file_system_storage_path_source.cc`). It
cannot load one without `saved_model.pb`: it goes on answering with the version before, and tries again five times, once
a minute (`--max_num_load_retries`, `--load_retry_interval_micros`). When it sees `saved_model.pb`, all else is there,
for these stores show what was written to whoever looks afterwards. So no server answers with half a version.

What remains: a server that looked during the upload has the new version up to a minute late, and one that looked more
than five minutes before its end, only after a restart. A server that is started during the upload answers when it is
done. A publisher that is killed (`kill -9`, a power cut) leaves an unfinished version: publish again, for the next
number is a later one, and `prune` deletes what is unfinished with what is as old.
"""

import contextlib
import hashlib
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import fsspec

from export import manifest
from export.base_path import SAVED_MODEL, BasePath, numbered
from export.store import Folder
from zoo.nearest import choose

EXTRAS = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure"}
"""Scheme → the extra that installs what reaches it."""


def at(url: str) -> "Bucket":
    """The base path of that URL.

    Raises:
        ValueError: fsspec knows no such URL, or it names no place.
        ImportError: what reaches it is not installed.
    """
    url = url.rstrip("/")
    scheme, _, root = url.partition("://")
    choose("scheme of a base path", scheme.removesuffix(":"), fsspec.available_protocols())
    if not root:
        raise ValueError(f"Base path {url} names no place. Accepted: a URL such as s3://bucket/lenet5.")
    try:
        if scheme == "s3":
            from export.s3 import S3

            return Bucket(url, S3(skip_instance_cache=True), root)
        return Bucket(url, *fsspec.url_to_fs(url, skip_instance_cache=True))
    except ImportError as error:
        remedy = f"pip install servable-zoo[{EXTRAS[scheme]}]" if scheme in EXTRAS else str(error)
        raise ImportError(f"What reaches {scheme}:// is not installed: {remedy}") from error


@dataclass(frozen=True)
class Bucket(BasePath):
    """A base path in an object store.

    Attributes:
        url: what it is called, such as `s3://bucket/lenet5`.
        files: the store.
        root: what the store calls it, such as `bucket/lenet5`.
    """

    url: str
    files: fsspec.AbstractFileSystem
    root: str

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        return PurePosixPath(self.root).name

    @property
    def parent(self) -> "Bucket":
        return Bucket(self.url.rpartition("/")[0], self.files, self.root.rpartition("/")[0])

    def path_of(self, version: str) -> str:
        return f"{self.url}/{version}"

    def entries(self, *folders: str) -> set[str]:
        """Names of all that lies directly in it, or in a folder of it; none where there is no such folder."""
        with self._told("read"):
            self.files.invalidate_cache()
            try:
                return {PurePosixPath(key).name for key in self.files.ls(self._key(*folders), detail=False)}
            except FileNotFoundError:
                return set()

    def versions(self) -> list[str]:
        """Names of the versions that are complete, oldest first."""
        return [name for name in numbered(self.entries()) if SAVED_MODEL in self.entries(name)]

    def read(self, version: str, file: str) -> str | None:
        with self._told("read"):
            try:
                return self.files.cat_file(self._key(version, file)).decode()
            except FileNotFoundError:
                return None

    @contextlib.contextmanager
    def fetched(self, version: str) -> Iterator[Folder]:
        """One that is made for the context, with a copy of the version."""
        with tempfile.TemporaryDirectory(prefix="zoo-") as scratch:
            folder = Folder(Path(scratch) / self.name)
            with self._told("read"):
                self._download(version, folder.path_of(version))
            yield folder

    @contextlib.contextmanager
    def staged(self) -> Iterator[Path]:
        """A temporary folder."""
        with tempfile.TemporaryDirectory(prefix="zoo-") as scratch:
            with self._told("written"):
                self._try_out(Path(scratch))
            folder = Path(scratch) / "version"
            folder.mkdir()
            yield folder

    def commit(self, folder: Path) -> str:
        """Upload a staged folder, under the next number of which nobody has an object."""
        number = max(map(int, numbered(self.entries())), default=0)
        with self._told("written"):
            while True:
                number += 1
                with contextlib.suppress(FileExistsError):  # taken since we looked
                    self._upload(folder, str(number))
                    return str(number)

    def put(self, version: str, file: str, content: bytes) -> None:
        with self._told("written"):
            self.files.pipe_file(self._key(version, file), content)

    def prune(self, keep: int) -> list[str]:
        """`saved_model.pb` goes first. Unfinished versions as old as those that go, go with them."""
        versions, taken = self.versions(), numbered(self.entries())
        oldest, kept = versions[:-keep], versions[-keep:]
        if oldest:
            with self._told("written"):
                for name in taken[: taken.index(kept[0])]:
                    self._remove(name, sorted(self._files(name), key=SAVED_MODEL.__ne__))
        return oldest

    def _try_out(self, scratch: Path) -> None:
        """Before the minutes that a proof may take: raise OSError if it cannot be written, or not exclusively."""
        trial = scratch / f".trial-{uuid.uuid4().hex}"
        trial.write_text("Written and removed again by a publisher, to see whether it can.")
        self._create(trial, self._key(trial.name))
        try:
            self._create(trial, self._key(trial.name))
        except FileExistsError:
            return
        finally:
            self.files.rm_file(self._key(trial.name))
        raise OSError("it overwrites what it is asked to create, so two publishers could take the same number")

    def _upload(self, folder: Path, name: str) -> None:
        """All or nothing. FileExistsError: somebody else has objects of that number; they stay."""
        digests = manifest.of_all(folder)
        others = sorted(digests.keys() - {manifest.FILE, SAVED_MODEL})
        sent: list[str] = []
        try:
            for part in ([manifest.FILE], others, [SAVED_MODEL]):
                for file in part:
                    sent.append(file)  # whatever becomes of it, unless it was there
                    try:
                        self._create(folder / file, self._key(name, file))
                    except FileExistsError:
                        sent.remove(file)
                        raise
                    if self._sha256(name, file) != digests[file]:
                        raise OSError(f"{name}/{file} arrived otherwise than it was sent")
                found = set(self._files(name))
                if found - set(sent):
                    raise FileExistsError(self.path_of(name))
                if missing := set(sent) - found:
                    raise OSError(f"somebody deleted {', '.join(sorted(missing))} from {self.path_of(name)} meanwhile")
        except BaseException as error:
            try:
                self._remove(name, sent[::-1])
            except Exception as further:
                left = f"What was uploaded could not be removed, either; delete {self.path_of(name)}"
                raise OSError(f"{_said(error)}. {left}: {_said(further)}") from error
            raise

    def _download(self, name: str, folder: Path) -> None:
        for file in self._files(name):
            target = folder / file
            if not target.resolve().is_relative_to(folder.resolve()):
                raise OSError(f"the object {file!r} would be written outside of its folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            self.files.get_file(self._key(name, file), str(target))

    def _create(self, source: Path, key: str) -> None:
        self.files.put_file(str(source), key, mode="create")

    def _remove(self, name: str, files: Iterable[str]) -> None:
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                self.files.rm_file(self._key(name, file))

    def _sha256(self, name: str, file: str) -> str:
        with self.files.open(self._key(name, file), "rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()

    def _files(self, name: str) -> list[str]:
        """Names of all objects of a number."""
        self.files.invalidate_cache()
        start = self._key(name, "")
        return [key.removeprefix(start) for key in self.files.find(start) if key.startswith(start)]

    def _key(self, *parts: str) -> str:
        return "/".join([self.root, *parts])

    @contextlib.contextmanager
    def _told(self, done: str) -> Iterator[None]:
        """Whatever a store raises, as an OSError that names the base path."""
        try:
            yield
        except Exception as error:
            raise OSError(f"Base path {self} cannot be {done}: {_said(error)}.") from error


def _said(error: BaseException) -> str:
    """Its first paragraph: some stores tell their whole state."""
    return " ".join(str(error).partition("\n\n")[0].split()).rstrip(".") or type(error).__name__
