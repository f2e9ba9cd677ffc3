"""What all tests share: quiet TensorFlow, and data sets prepared in a folder of their own."""

import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """Where this session's own TFDS data sets are prepared."""
    return str(tmp_path_factory.mktemp("tensorflow_datasets"))
