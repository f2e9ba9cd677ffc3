"""An S3 server on a free loopback port, whose buckets are folders, and which can be made to fail."""

import contextlib
import itertools
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from pathlib import Path

import localbucket


@dataclass
class Bucket:
    """The one bucket of a server.

    Attributes:
        folder: where its objects lie.
        before, after: called with method and key of everything that changes the bucket, before and after it does. What
            raises PermissionError is refused; if it is raised after, the client is told so all the same.
    """

    folder: Path
    before: Callable[[str, str], None] = lambda method, key: None
    after: Callable[[str, str], None] = lambda method, key: None


@contextlib.contextmanager
def serving(root: Path, name: str) -> Iterator[tuple[str, Bucket]]:
    """The server's address, and its bucket."""
    bucket = Bucket(root / name)
    bucket.folder.mkdir(parents=True)
    handler = type("Handler", (_Handler,), {"data_root": root.resolve(), "bucket": bucket})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", bucket
    finally:
        server.shutdown()
        server.server_close()


class _Handler(localbucket.S3Handler):
    bucket: Bucket
    disable_nagle_algorithm = True

    def _write_object(self, bucket: str, key: str, write) -> str:
        with self._watched("PUT", key):
            return super()._write_object(bucket, key, write)

    def _post_request(self, bucket: str, key: str):
        """DeleteObjects, which localbucket lacks."""
        if "delete" not in self.query:
            return super()._post_request(bucket, key)
        result = ET.Element("DeleteResult", xmlns=localbucket.S3_NAMESPACE)
        for element in ET.fromstring(self._read_body()).iter(f"{{{localbucket.S3_NAMESPACE}}}Key"):
            key = element.text
            with self._watched("DELETE", key):
                path = self.bucket.folder / key
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # until one is not empty
                    for folder in itertools.takewhile(self.bucket.folder.__ne__, path.parents):
                        folder.rmdir()
            ET.SubElement(ET.SubElement(result, "Deleted"), "Key").text = key
        self._send_xml(result)

    @contextlib.contextmanager
    def _watched(self, method, key):
        try:
            self.bucket.before(method, key)
            yield
            self.bucket.after(method, key)
        except PermissionError:
            raise localbucket.S3Error(HTTPStatus.FORBIDDEN, "AccessDenied", "Access Denied") from None

    def log_message(self, *arguments):
        pass
