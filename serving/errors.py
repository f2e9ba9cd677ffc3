"""What can go wrong between a caller and a server: the same classes over REST and gRPC.

A transport knows only a status code and the server's words, and raises ``Failure``. The client knows what was asked of
whom, and turns it into one of the public errors. The codes are gRPC's names on both transports; TensorFlow Serving
maps its HTTP statuses from them, several to one, so a class here covers all codes that share an HTTP status.
"""


class ServingError(Exception):
    """A request that was not answered. ``code`` is the gRPC name of the status, whatever the transport."""

    code: str = "UNKNOWN"


class InvalidInput(ServingError):
    """The request does not fit the model: signature, names, dtypes, shapes, or values that the graph refuses."""


class ModelNotFound(ServingError):
    """The server does not serve this model, version or label (any more, or yet)."""


class ModelFailed(ServingError):
    """The server tried to load the model and gave up; it will not become ready by waiting."""


class DeadlineExceeded(ServingError):
    """No answer in the time that the caller gave, retries included."""


class Unavailable(ServingError):
    """Nobody listens, the connection broke, or the server cannot answer now. Raised after the retries."""


class Overloaded(ServingError):
    """The server is at one of its limits: threads, queue, message size."""


class Unsupported(ServingError):
    """The server does not have this method."""


class ServerError(ServingError):
    """The server failed inside, or what answered is no TensorFlow Serving."""


class EngineError(ServingError):
    """A server that could not be started, or ended before it was ready."""


class Failure(Exception):
    """One failed attempt: a gRPC status name and the server's words. The client makes a ServingError of it."""

    def __init__(self, code: str, words: str):
        super().__init__(code, words)
        self.code = code
        self.words = words


class AnswerMismatch(Exception):
    """An answer without the outputs of the signature that it was read with: the server moved to another version."""


# TensorFlow Serving's table (tensorflow_serving/util/net_http), read backwards; where several codes share a status,
# the first is taken.
CODE_OF_HTTP_STATUS = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

_CLASS_OF_CODE = {
    "INVALID_ARGUMENT": InvalidInput,
    "FAILED_PRECONDITION": InvalidInput,
    "OUT_OF_RANGE": InvalidInput,
    "NOT_FOUND": ModelNotFound,
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "RESOURCE_EXHAUSTED": Overloaded,
    "UNIMPLEMENTED": Unsupported,
}


def public_error(failure: Failure, asked: str) -> ServingError:
    """The error to raise for ``failure``: what was ``asked`` (of whom), then the server's words."""
    kind = _CLASS_OF_CODE.get(failure.code, ServerError)
    # An unknown label has the code of a bad argument, but to a caller it is a version that is not there.
    if kind is InvalidInput and "Unrecognized servable version label" in failure.words:
        kind = ModelNotFound
    error = kind(f"{asked}: {failure.words or failure.code}")
    error.code = failure.code
    return error
