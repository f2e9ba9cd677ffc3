"""A stand-in for ``tensorflow_model_server`` that starts at once: it answers metadata, and misbehaves when told to.

    python stub_server.py --port=8500 --rest_api_port=8501 --model_name=m --model_base_path=/models/m [flags ignored]

``STUB`` in the environment chooses: ``dies`` (ends as a failing load does), ``deaf`` (ignores SIGTERM), ``taken-once``
(complains of its REST port, and lives on, the first time; the file ``STUB_MEMORY`` remembers).
"""

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FLAGS = dict(argument[2:].split("=", 1) for argument in sys.argv[1:] if "=" in argument)
MODE = os.environ.get("STUB", "")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = FLAGS["model_name"]
        spec = {"name": name, "version": "1", "signature_name": ""}
        reply = {"model_spec": spec, "metadata": {"signature_def": {"signature_def": {}}}}
        found = self.path == f"/v1/models/{name}/metadata"
        body = json.dumps(reply if found else {"error": "not found"}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


print("stub process", os.getpid(), sys.argv[1:], flush=True)
if MODE == "dies":
    print("Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available", flush=True)
    sys.exit(255)
if MODE == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if MODE == "taken-once" and not (memory := Path(os.environ["STUB_MEMORY"])).exists():
    memory.touch()
    print(f"Failed to start HTTP Server at localhost:{FLAGS['rest_api_port']}", flush=True)
    time.sleep(60)
ThreadingHTTPServer(("127.0.0.1", int(FLAGS["rest_api_port"])), Handler).serve_forever()
