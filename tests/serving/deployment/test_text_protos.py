"""The server's text files, to the letter, and the values that would end it or corrupt its answers."""

import re
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf import text_format

from serving.deployment import text_protos, tls
from serving.embedded import model_config, monitoring_config
from serving.protos import serving_pb2 as pb


def test_models_with_labels(tmp_path):
    text = text_protos.model_config({"lenet5": {"stable": 1, "canary": 2}, "style_transfer": {"stable": 3}})
    assert (
        text
        == """\
model_config_list {
  config {
    name: "lenet5"
    base_path: "/models/lenet5"
    model_platform: "tensorflow"
    model_version_policy {
      specific {
        versions: 1
        versions: 2
      }
    }
    version_labels {
      key: "canary"
      value: 2
    }
    version_labels {
      key: "stable"
      value: 1
    }
  }
  config {
    name: "style_transfer"
    base_path: "/models/style_transfer"
    model_platform: "tensorflow"
    model_version_policy {
      specific {
        versions: 3
      }
    }
    version_labels {
      key: "stable"
      value: 3
    }
  }
}
"""
    )
    (tmp_path / "models.config").write_text(text)
    assert [model.name for model in model_config.check(model_config.read(tmp_path / "models.config"))] == [
        "lenet5",
        "style_transfer",
    ]


def test_two_labels_of_one_version_load_it_once():
    text = text_protos.model_config({"m": {"stable": 4, "canary": 4}})
    assert text.count("versions: 4") == 1


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({}, "at least one model"),
        ({"m": {}}, "no version"),
        ({"a/b": {"stable": 1}}, "Received: 'a/b'"),
        ({"m": {"can/ary": 1}}, "Received: 'can/ary'"),
        ({"m": {"": 1}}, "Received: ''"),
        ({"m": {"stable": -1}}, "stable=-1"),
        ({"m": {"stable": 2**63}}, "from 0 to 2^63 - 1"),
    ],
)
def test_models_that_a_server_would_end_or_wait_at_are_refused(labels, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        text_protos.model_config(labels)


def test_a_relative_base_path_is_refused():
    with pytest.raises(ValueError, match="absolute"):
        text_protos.model_config({"m": {"stable": 1}}, root="models")


def test_monitoring(tmp_path):
    text = text_protos.monitoring_config()
    assert text == 'prometheus_config {\n  enable: true\n  path: "/monitoring/prometheus/metrics"\n}\n'
    (tmp_path / "monitoring.config").write_text(text)
    assert monitoring_config.metrics_path(tmp_path / "monitoring.config") == "/monitoring/prometheus/metrics"


@pytest.mark.parametrize("path", ["metrics", "/", "/a b", "/metrics?x", "/v1/models/m"])
def test_paths_of_metrics_that_hide_something_or_are_never_found_are_refused(path):
    with pytest.raises(ValueError, match="Received"):
        text_protos.monitoring_config(path)


def test_batching():
    assert text_protos.batching_config(32, 0, 4) == (
        "max_batch_size {\n  value: 32\n}\nbatch_timeout_micros {\n}\n"
        "max_enqueued_batches {\n  value: 100\n}\nnum_batch_threads {\n  value: 4\n}\n"
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0, 1000, 4), "max_batch_size is a whole number from 1 on. Received: 0"),
        ((8, -1, 4), "batch_timeout_micros is a whole number from 0 on. Received: -1"),
        ((8, 1000, 0), "num_batch_threads"),
        ((8, 1000, 4, 0), "max_enqueued_batches"),
        ((2**63, 1000, 4), "max_batch_size"),
    ],
)
def test_batches_that_end_the_server_are_refused(values, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        text_protos.batching_config(*values)


def test_tls_to_the_letter():
    certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    key = "-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----\n"
    assert text_protos.ssl_config(certificate, key) == (
        'server_key: "-----BEGIN PRIVATE KEY-----\\nMC4C\\n-----END PRIVATE KEY-----\\n"\n'
        'server_cert: "-----BEGIN CERTIFICATE-----\\nMIIB\\n-----END CERTIFICATE-----\\n"\n'
    )
    assert text_protos.ssl_config(certificate, key, certificate).endswith("client_verify: true\n")
    for wrong in ((key, key), (certificate, certificate), (certificate, key, key), ("", key), ("server.pem", key)):
        with pytest.raises(ValueError, match="PEM"):
            text_protos.ssl_config(*wrong)


def test_the_certificate_that_was_written_is_one_that_callers_trust(pem):
    config = text_format.Parse(tls.read(pem / "server.pem", pem / "server.key"), pb.SSLConfig())
    server = grpc.server(ThreadPoolExecutor(1))
    credentials = grpc.ssl_server_credentials([(config.server_key.encode(), config.server_cert.encode())])
    port = server.add_secure_port("localhost:0", credentials)
    server.start()
    try:
        trusting = grpc.ssl_channel_credentials((pem / "ca.pem").read_bytes())
        with grpc.secure_channel(f"localhost:{port}", trusting) as channel:
            grpc.channel_ready_future(channel).result(timeout=10)
    finally:
        server.stop(None)


def test_files_that_do_not_belong_together_or_are_locked_are_refused(pem):
    with pytest.raises(ValueError, match=r"other\.key do not belong together"):
        tls.read(pem / "server.pem", pem / "other.key")
    with pytest.raises(ValueError, match="PEM"):
        tls.read(pem / "server.key", pem / "server.pem")
    (pem / "locked.key").write_text((pem / "server.key").read_text().replace("PRIVATE", "ENCRYPTED PRIVATE"))
    with pytest.raises(ValueError, match="no unencrypted PEM"):
        tls.read(pem / "server.pem", pem / "locked.key")
    (pem / "binary").write_bytes(b"\x30\x82\xff")
    with pytest.raises(ValueError, match="ASCII"):
        tls.read(pem / "binary", pem / "server.key")
