"""What the server is told to look at in a signature, before it classifies or regresses with it."""

from types import SimpleNamespace

import pytest

from serving.embedded.inference import CLASSIFY, REGRESS
from serving.embedded.metrics import Metrics
from serving.embedded.service import Service
from serving.embedded.status import ServingError
from serving.protos import serving_pb2 as pb

LOADED = SimpleNamespace(
    servable=SimpleNamespace(
        signatures={
            "serving_default": pb.SignatureDef(method_name="tensorflow/serving/predict"),
            "classes": pb.SignatureDef(method_name=CLASSIFY),
        }
    )
)


def test_a_signature_for_something_else_is_refused_where_that_is_looked_at():
    strict, lenient = (Service(None, Metrics(), checks_methods=strict) for strict in (True, False))
    for method, kind in ((CLASSIFY, "classification"), (REGRESS, "regression")):
        with pytest.raises(ServingError) as error:
            strict.check_method(LOADED, "", method)
        assert error.value.message == (
            f"Expected {kind} signature method_name to be {method}. Was: tensorflow/serving/predict"
        )
        lenient.check_method(LOADED, "", method)
    strict.check_method(LOADED, "classes", CLASSIFY)
    strict.check_method(LOADED, "nowhere", CLASSIFY)
