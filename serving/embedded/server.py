"""The parts put together: from options to a server that runs until it is told to stop."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from serving.embedded import batching_config, flags, model_config, monitoring_config, ssl_config
from serving.embedded.batching import Batcher
from serving.embedded.core import Core
from serving.embedded.flags import Options
from serving.embedded.grpc_server import UNIX, GrpcServer
from serving.embedded.limits import limits_of
from serving.embedded.manager import Loader, Manager
from serving.embedded.metrics import Metrics
from serving.embedded.rest import RestApi
from serving.embedded.rest_server import RestServer
from serving.embedded.service import Service
from serving.embedded.status import Code, ServingError, invalid_argument
from serving.embedded.tensorflow_import import importing_tensorflow
from serving.embedded.warmup import warm_up

log = logging.getLogger(__name__)

GRACE_SECONDS = 10.0
DEFAULT_LOAD_THREADS = 2
DEFAULT_THREADS = 4 * (os.cpu_count() or 1)
DEFAULT_BATCHING_THREADS = 256  # of them those that wait for a batch do not compute


class Server:
    """A server's life: ``start``, then ``stop``. It answers only when every model has a version that can."""

    def __init__(self, options: Options):
        """Reads the configuration files. Raises ServingError where one is wrong."""
        self._options = options
        self._metrics = Metrics()
        self._manager = Manager(
            _loader(options, self._metrics),
            num_load_threads=options.num_load_threads or DEFAULT_LOAD_THREADS,
            max_num_retries=options.max_num_load_retries,
            retry_interval=options.load_retry_interval_micros / 1e6,
        )
        self._core = Core(self._manager, options.allow_version_labels_for_unavailable_models)
        self._service = Service(
            self._core,
            self._metrics,
            options.enable_serialization_as_tensor_content,
            options.enable_signature_method_name_check,
        )
        limits = limits_of(options)
        self._grpc = GrpcServer(
            self._service,
            _num_threads(options.grpc_max_threads, options),
            limits,
            credentials=ssl_config.credentials(options.ssl_config_file),
            arguments=flags.channel_arguments(options.grpc_channel_arguments),
            has_health=options.enable_grpc_healthcheck_service,
        )
        self._rest: RestServer | None = None
        if options.rest_api_port:
            metrics_path = (
                monitoring_config.metrics_path(options.monitoring_config_file)
                if options.monitoring_config_file
                else None
            )
            api = RestApi(
                self._service,
                metrics_path,
                options.rest_api_enable_cors_support,
                options.max_request_bytes,
                may_wait=options.enable_batching,
            )
            self._rest = RestServer(api, _num_threads(options.rest_api_num_threads, options), limits)
        self._config = _read_config(options)
        self._stopping = threading.Event()

    async def start(self) -> None:
        """Loads the models, then opens the ports.

        Raises ServingError where a model cannot be loaded, OSError where a port is taken.
        """
        await asyncio.get_running_loop().run_in_executor(None, self._load_models)
        options = self._options
        addresses, scheme = [], "gRPC over TLS" if options.ssl_config_file else "gRPC"
        if options.port:
            host = f"[{options.host}]" if ":" in options.host else options.host
            addresses.append(f"{host}:{options.port}")
        if options.grpc_socket_path:
            addresses.append(f"{UNIX}{options.grpc_socket_path}")
        self._grpc.start(*addresses)
        ready = [f"{scheme} at {address}" for address in addresses]
        if self._rest:
            port = await self._rest.start(options.host, options.rest_api_port)
            ready.append(f"REST at http://{options.host}:{port}")
        log.info("ready: %s", ", ".join(ready))

    async def stop(self) -> None:
        """Takes no new requests, finishes those under way, lets the models go."""
        self._stopping.set()
        loop = asyncio.get_running_loop()
        grpc_stopped = loop.run_in_executor(None, self._grpc.stop, GRACE_SECONDS)
        if self._rest:
            await self._rest.stop()
        await grpc_stopped
        self._manager.stop()

    def _load_models(self) -> None:
        options = self._options
        names = self._core.configure(self._config)
        _repeat(self._core.poll, options.file_system_poll_wait_seconds, self._stopping)
        self._core.wait_until_settled(names, self._stopping.is_set)
        if options.model_config_file:
            _repeat(self._reread_config, options.model_config_file_poll_wait_seconds, self._stopping)

    def _reread_config(self) -> None:
        config = model_config.read(self._options.model_config_file)
        if config != self._core.config:  # be it that the file has changed, or that somebody asked for other models
            self._core.configure(config)
            log.info("configuration read again from %s", self._options.model_config_file)


def _read_config(options: Options):
    if options.model_config_file:
        return model_config.read(options.model_config_file)
    return model_config.single_model(options.model_name, options.model_base_path)


def _batcher(options: Options, metrics: Metrics) -> Batcher | None:
    """What batches requests, if anything does."""
    file = options.batching_parameters_file
    if not options.enable_batching:
        if file:
            raise invalid_argument("batching_parameters_file is set without setting enable_batching to true.")
        return None
    batching = batching_config.read(file) if file else batching_config.Batching()
    return Batcher(batching, options.enable_per_model_batching_parameters, metrics)


def _num_threads(wanted: int, options: Options) -> int:
    """How many requests may be under way: a batch can be no larger than that."""
    return wanted if wanted > 0 else DEFAULT_BATCHING_THREADS if options.enable_batching else DEFAULT_THREADS


def _repeat(action: Callable[[], None], seconds: float, stopping: threading.Event) -> None:
    """Runs ``action`` every so many seconds in a thread of its own, until told to stop; never, for 0."""
    if seconds <= 0:
        return

    def loop() -> None:
        last_fault = None
        while not stopping.wait(seconds):
            try:
                action()
                last_fault = None
            except ServingError as error:
                if str(error) != last_fault:  # the same fault every second would bury the rest of the log
                    log.error("%s", error)
                last_fault = str(error)
            except Exception:
                log.exception("%s failed", action.__name__)

    threading.Thread(target=loop, name=action.__name__, daemon=True).start()


def _loader(options: Options, metrics: Metrics) -> Loader:
    """What loads versions: all, or those alone that were signed."""
    load = partial(_load_version, options, metrics, _batcher(options, metrics))
    if not options.require_signature:
        return load
    from serving import signed  # cryptography: for those who need it

    try:
        keys = signed.public_keys(options.require_signature)
    except (OSError, ValueError) as error:
        raise invalid_argument(f"--require_signature: {error}") from None

    def load_signed(model: str, version: int, path: Path) -> object:
        try:
            with signed.copied(path, keys) as copy:
                return load(model, version, path, copy)
        except signed.NotSigned as error:
            metrics.load_attempts.add(str(path), "fail")
            raise ServingError(Code.PERMISSION_DENIED, f"{path} is not loaded: {error}") from None

    return load_signed


def _load_version(
    options: Options,
    metrics: Metrics,
    batcher: Batcher | None,
    model: str,
    version: int,
    path: Path,
    files: Path | None = None,
) -> object:
    """Loads and warms one version, from its own files or others, and counts how that went."""
    files = files or path
    with importing_tensorflow():
        from serving.embedded import saved_model  # TensorFlow: seconds that a wrong flag need not wait for

    session = saved_model.SessionOptions(
        tags=frozenset(options.saved_model_tags.split(",")),
        intra_op_threads=options.tensorflow_intra_op_parallelism or options.tensorflow_session_parallelism,
        inter_op_threads=options.tensorflow_inter_op_parallelism or options.tensorflow_session_parallelism,
        gpu_memory_fraction=options.per_process_gpu_memory_fraction,
        config_file=options.tensorflow_session_config_file,
    )
    start = time.perf_counter()
    try:
        servable = saved_model.load(files, session)
    except ServingError:
        metrics.load_attempts.add(str(path), "fail")
        raise
    metrics.load_attempts.add(str(path), "success")
    metrics.load_latency.add(str(path), by=int((time.perf_counter() - start) * 1e6))
    count = 0
    try:
        if batcher:
            servable = batcher.wrap(servable, files)
        if options.enable_model_warmup:
            count = warm_up(servable, files, saved_model.read_records, options.num_request_iterations_for_warmup)
    except ServingError:
        servable.close()
        raise
    if count:
        metrics.warmup_records.add(str(path), "OK", by=count)
        log.info("%s: version %d answered %d warm-up requests", model, version, count)
    return servable
