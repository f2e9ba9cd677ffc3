"""What the embedded server does while it imports TensorFlow."""

import json
import subprocess
import sys

IMPORTED = """
import gc, json, sys
sys.modules |= {"keras": None, "jax": None}
from serving.embedded.tensorflow_import import importing_tensorflow
def imported():
    with importing_tensorflow():
        import tensorflow
        return gc.isenabled()
collects = [imported(), gc.isenabled()]
left_out = gc.get_freeze_count()
collects += [imported(), gc.isenabled()]
print(json.dumps([collects, left_out > 100_000, gc.get_freeze_count() == left_out]))
"""


def test_tensorflow_is_imported_in_silence_and_left_out_of_garbage_collection_once():
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [[False, True, True, True], True, True]
