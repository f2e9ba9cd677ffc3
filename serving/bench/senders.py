"""Encoded requests over one protocol: bytes go out, a code comes back, under gRPC's names on both."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import grpc

from serving import grpc_channel, rest
from serving.bench.loads import Send
from serving.errors import CODE_OF_HTTP_STATUS
from serving.transport import ModelRef

METHOD = "/tensorflow.serving.PredictionService/Predict"
OK, TIMED_OUT, UNREACHABLE, UNKNOWN = "OK", "DEADLINE_EXCEEDED", "UNAVAILABLE", "UNKNOWN"

_MOST_CONNECTIONS = 512  # over REST: further requests wait for one, and their time counts
_GRPC_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True)
class Target:
    """Whom to ask: ``address`` is ``http://host:port`` for REST, ``host:port`` for gRPC, as ``Client`` takes it."""

    address: str
    model: ModelRef

    @property
    def api(self) -> str:
        """``REST`` or ``gRPC``."""
        return "REST" if self.address.startswith(("http://", "https://")) else "gRPC"

    @property
    def url(self) -> str:
        """Where requests are posted, over HTTP/1.1 for REST, over HTTP/2 for gRPC."""
        if self.api == "REST":
            return f"{self.address.rstrip('/')}{rest.model_path(self.model)}:predict"
        return f"http://{self.address.removeprefix('grpc://')}{METHOD}"

    def encode(self, signature: str, inputs: dict) -> bytes:
        """A request as it travels. Failure for a dtype that the protocol cannot carry."""
        if self.api == "REST":
            return rest.encode_request(signature, inputs)
        return grpc_channel.encode_request(self.model, signature, inputs).SerializeToString()

    def sender(self, timeout: float) -> contextlib.AbstractAsyncContextManager[Send]:
        """What sends such requests while it is open; each ends within ``timeout`` seconds."""
        if self.api == "REST":
            return _rest(self.url, timeout)
        return _grpc(self.address.removeprefix("grpc://"), timeout)


@contextlib.asynccontextmanager
async def _rest(url: str, timeout: float) -> AsyncIterator[Send]:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_MOST_CONNECTIONS),
        timeout=aiohttp.ClientTimeout(total=timeout),
        headers={"Content-Type": "application/json"},
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:

        async def send(body: bytes) -> str:
            try:
                async with session.post(url, data=body, allow_redirects=False) as response:
                    await response.read()
                    return OK if response.status == 200 else CODE_OF_HTTP_STATUS.get(response.status, UNKNOWN)
            except TimeoutError:
                return TIMED_OUT
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError):
                return UNREACHABLE
            except aiohttp.ClientError:
                return UNKNOWN

        yield send


@contextlib.asynccontextmanager
async def _grpc(address: str, timeout: float) -> AsyncIterator[Send]:
    async with grpc.aio.insecure_channel(address, options=_GRPC_OPTIONS) as channel:
        predict = channel.unary_unary(METHOD)  # without serializers it takes and gives bytes

        async def send(body: bytes) -> str:
            try:
                await predict(body, timeout=timeout)
            except grpc.aio.AioRpcError as error:
                return error.code().name
            return OK

        yield send
