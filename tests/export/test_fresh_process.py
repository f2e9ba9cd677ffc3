"""The process in which a proof is made: what it does when it fails, is too slow, or is kept for many versions."""

import pytest

import export
from export import fresh_process, golden


def test_one_process_serves_many_versions_and_is_replaced_when_one_ends_it(image_version, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"no SavedModel")
    with fresh_process.kept():
        with fresh_process.started() as process:
            assert set(golden.load(image_version.path)) <= {
                key.split("|")[0] for key in process.replay(image_version.path)
            }
            with pytest.raises(
                ChildProcessError, match=r"cannot be loaded in a fresh process \(exit 1\):\n(.|\n)*Error"
            ):
                process.replay(tmp_path)
            assert process.ended
        # The next version is not told of it.
        assert export.verify(image_version.path).ok
        assert not process.ended


def test_a_process_that_is_too_slow_is_ended(image_version):
    with fresh_process.started() as process:
        with pytest.raises(ChildProcessError, match="did not answer its golden inputs within 0 s"):
            process.replay(image_version.path, time_limit=0.01)
        assert process.ended
