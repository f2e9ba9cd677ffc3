"""What the server serves now: configuration, labels, versions (model_servers/server_core.cc)."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from serving.embedded import model_config
from serving.embedded.manager import LoadedVersion, Manager, State
from serving.embedded.status import Code, ServingError, failed_precondition, invalid_argument, not_found
from serving.embedded.version_source import VersionSource
from serving.protos import serving_pb2 as pb

log = logging.getLogger(__name__)


class Core:
    """Finds the servable that a request means, and follows the configuration; ``config`` is the one followed now."""

    def __init__(self, manager: Manager, allow_labels_for_unavailable: bool = False):
        self.manager = manager
        self._source = VersionSource(manager.aspire)
        self._allow_labels_for_unavailable = allow_labels_for_unavailable
        self._labels: dict[str, dict[str, int]] = {}
        self.config = pb.ModelServerConfig()
        self._configuring = threading.Lock()

    @contextmanager
    def servable(self, spec: pb.ModelSpec) -> Iterator[LoadedVersion]:
        """The version that ``spec`` means, kept loaded for the length of the block.

        INVALID_ARGUMENT without a name or for an unknown label, NOT_FOUND where nothing is served.
        """
        loaded = self._find(spec)
        while not loaded.acquire():  # it was let go between the look-up and here: another one has taken its place
            loaded = self._find(spec)
        try:
            yield loaded
        finally:
            loaded.release()

    def status(self, spec: pb.ModelSpec) -> pb.GetModelStatusResponse:
        """The states of one version, or of all (labels are not looked at). NOT_FOUND for what was never heard of."""
        statuses = self.manager.statuses(spec.name)
        if spec.HasField("version"):
            version = spec.version.value
            statuses = [status for status in statuses if status.version == version]
            if not statuses:
                raise not_found(f"Could not find version {version} of model {spec.name}")
        if not statuses:
            raise not_found(f"Could not find any versions of model {spec.name}")
        response = pb.GetModelStatusResponse()
        for status in statuses:
            message = response.model_version_status.add(version=status.version, state=status.state)
            message.status.SetInParent()
            if status.error:
                message.status.error_code = status.error.code
                message.status.error_message = status.error.message
        return response

    def configure(self, config: pb.ModelServerConfig) -> list[str]:
        """Serves what ``config`` lists from now on, and nothing else; the names that were not listed before.

        Nothing changes where it raises: INVALID_ARGUMENT for a bad list, FAILED_PRECONDITION for a label on a version
        that is not available.
        """
        with self._configuring:
            models = model_config.check(config)
            labels = {model.name: dict(model.version_labels) for model in models if model.version_labels}
            self._check_labels(labels)
            self._source.set_models(models)
            self._labels = labels
            self._source.poll()
            before = {model.name for model in self.config.model_config_list.config}
            self.config = pb.ModelServerConfig.FromString(config.SerializeToString())
            return [model.name for model in models if model.name not in before]

    def poll(self) -> None:
        """Looks at the base paths."""
        with self._configuring:
            self._source.poll()

    def wait_until_settled(
        self, names: Iterable[str], is_cancelled: Callable[[], bool] = lambda: False, what: str = "servable(s)"
    ) -> None:
        """Waits until every named model has an answer. UNKNOWN with the list of those that did not become available."""
        names = list(names)
        self.manager.wait_for(lambda: is_cancelled() or all(map(self.manager.is_settled, names)))
        failed = [fault for name in names for fault in self._faults(name)]
        if failed and not is_cancelled():
            raise ServingError(Code.UNKNOWN, f"{len(failed)} {what} did not become available: {{{''.join(failed)}}}")

    def _faults(self, name: str) -> list[str]:
        statuses = self.manager.statuses(name)
        if any(status.state == State.AVAILABLE for status in statuses):
            return []
        return [
            f"{{{{name: {name} version: {status.version}}} due to error: {status.error}}}, "
            for status in statuses
            if status.error
        ]

    def _find(self, spec: pb.ModelSpec) -> LoadedVersion:
        name = spec.name
        if not name:
            raise invalid_argument("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        if choice is None:
            loaded = self.manager.find(name)
            wanted = f"Latest({name})"
        else:
            version = spec.version.value if choice == "version" else self._labelled(name, spec.version_label)
            loaded = self.manager.find(name, version)
            wanted = f"Specific({name}, {version})"
        if loaded is None:
            raise not_found(f"Servable not found for request: {wanted}")
        return loaded

    def _labelled(self, name: str, label: str) -> int:
        labels = self._labels.get(name, {})
        if label not in labels:
            raise invalid_argument(f"Unrecognized servable version label: {label}")
        return labels[label]

    def _check_labels(self, labels: dict[str, dict[str, int]]) -> None:
        """A label goes to an available version; where the server allows it, one not in use yet may go to any."""
        for name, versions in labels.items():
            for label, version in versions.items():
                in_use_elsewhere = self._labels.get(name, {}).get(label, version) != version
                if self._allow_labels_for_unavailable and not in_use_elsewhere:
                    continue
                if self.manager.find(name, version) is None:
                    raise failed_precondition(
                        f"Request to assign label to version {version} of model {name}, which is not currently "
                        "available for inference"
                    )
