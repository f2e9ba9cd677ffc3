"""A REST server of small models that need no TensorFlow: each kind of answer that the page draws, the same every time.

``asked`` keeps the bodies of all requests, by model.
"""

import base64
import io
import json
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image

HOSTILE = "<img src=x onerror=\"document.title='broken in'\">"


def png(size, value, mode="L"):
    file = io.BytesIO()
    Image.new(mode, size, value).save(file, "PNG")
    return file.getvalue()


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


def striped_mask():
    """8 x 8 pixels: the upper half is class 0, the lower class 2."""
    picture = Image.new("L", (8, 8), 0)
    picture.paste(2, (0, 4, 8, 8))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def tensor(dtype, *sizes):
    return {
        "dtype": f"DT_{dtype}",
        "name": "x:0",
        "tensor_shape": {"dim": [{"size": str(size), "name": ""} for size in sizes], "unknown_rank": False},
    }


PICTURE = {"image_bytes": tensor("STRING", -1)}
TEXT = {"text": tensor("STRING", -1)}

# model → signature → its inputs, and for one row: outputs by name, each with its tensor and its value
MODELS = {
    "digit": {
        "bytes": (
            PICTURE,
            {
                "probabilities": (tensor("FLOAT", -1, 3), [[0.1, 0.2, 0.7]]),
                "class_ids": (tensor("INT64", -1), [2]),
                "classes": (tensor("STRING", -1), ["two"]),
            },
        ),
        "explain": (
            PICTURE,
            {
                "probabilities": (tensor("FLOAT", -1, 3), [[0.1, 0.2, 0.7]]),
                "class_ids": (tensor("INT64", -1), [2]),
                "classes": (tensor("STRING", -1), ["two"]),
                "heatmap": (tensor("FLOAT", -1, 2, 2), [[[0.0, 0.5], [0.5, 1.0]]]),
            },
        ),
    },
    "hostile": {
        "text": (
            TEXT,
            {
                "probabilities": (tensor("FLOAT", -1, 2), [[0.1, 0.9]]),
                "class_ids": (tensor("INT64", -1), [1]),
                "classes": (tensor("STRING", -1), [HOSTILE]),
            },
        )
    },
    "scenes": {
        "bytes": (
            PICTURE,
            {
                "boxes": (tensor("FLOAT", -1, -1, 4), [[[2, 3, 20, 30], [1, 1, 5, 5], [0, 0, 0, 0]]]),
                "scores": (tensor("FLOAT", -1, -1), [[0.9, 0.1, 0.0]]),
                "class_ids": (tensor("INT64", -1, -1), [[1, 2, 0]]),
                "classes": (tensor("STRING", -1, -1), [["cat", "dog", ""]]),
            },
        )
    },
    "masks": {
        "bytes": (
            PICTURE,
            {
                "class_ids": (tensor("INT64", -1, -1), [[0] * 32 + [2] * 32]),
                "mask_bytes": (tensor("STRING", -1), [b64(striped_mask())]),
                "size": (tensor("INT64", -1, 2), [[8, 8]]),
            },
        )
    },
    "style": {"bytes": (PICTURE, {"image_bytes": (tensor("STRING", -1), [b64(png((8, 8), 50))])})},
    "words": {
        "text": (
            TEXT,
            {
                "words": (tensor("STRING", -1, -1), [["Ada", "sleeps", ""]]),
                "classes": (tensor("STRING", -1, -1), [["person", "O", ""]]),
                "class_ids": (tensor("INT64", -1, -1), [[1, 0, 0]]),
                "probabilities": (tensor("FLOAT", -1, -1, 2), [[[0.2, 0.8], [0.9, 0.1], [0.0, 0.0]]]),
            },
        )
    },
    "writer": {
        "generate": (
            {
                **TEXT,
                "max_new_tokens": tensor("INT64", -1),
                "temperature": tensor("FLOAT", -1),
                "top_p": tensor("FLOAT", -1),
                "seed": tensor("INT64", -1),
            },
            {
                "generated_text": (tensor("STRING", -1), [" a time"]),
                "log_probability": (tensor("FLOAT", -1), [-1.5]),
            },
        )
    },
    "painter": {
        "generate": (
            {"seed": tensor("INT64", -1), "count": tensor("INT64", -1)},
            {"image_bytes": (tensor("STRING", -1, -1), [[b64(png((8, 8), 99)), b64(png((8, 8), 200))]])},
        ),
        "serving_default": (
            {"latent": tensor("FLOAT", -1, 3)},
            {"image": (tensor("FLOAT", -1, 2, 2), [[[0.0, 1.0], [1.0, 0.0]]])},
        ),
    },
    "row": {
        "row": (
            {"age": tensor("FLOAT", -1), "bmi": tensor("FLOAT", -1)},
            {"value": (tensor("FLOAT", -1, 1), [[152.25]])},
        )
    },
}


class ScriptedModels:
    """As a context manager, the server; ``url`` is its address."""

    def __init__(self):
        self.asked = defaultdict(list)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def _handler(self):
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                name = self.path.removeprefix("/v1/models/").removesuffix("/metadata")
                self._reply(*((200, metadata(name)) if name in MODELS else (404, {"error": f"no {name}"})))

            def do_POST(self):
                name = self.path.removeprefix("/v1/models/").removesuffix(":predict")
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                asked[name].append(body)
                self._reply(*answer(name, body))

            def _reply(self, status, reply):
                body = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler


def metadata(name):
    signatures = {
        signature: {
            "inputs": inputs,
            "outputs": {output: of for output, (of, _) in outputs.items()},
            "method_name": "tensorflow/serving/predict",
        }
        for signature, (inputs, outputs) in MODELS[name].items()
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": "1"},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def answer(name, body):
    if body["inputs"].get("text") == [b64(b"fail")]:
        return 400, {"error": "INVALID <b>input</b>"}
    outputs = {output: value for output, (_, value) in MODELS[name][body["signature_name"]][1].items()}
    return 200, {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}
