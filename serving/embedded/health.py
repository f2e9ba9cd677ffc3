"""grpc.health.v1, as TensorFlow Serving answers it: SERVING as long as it listens, whatever its models do."""

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

SERVICES = ("ModelService", "PredictionService")


class Health(health.HealthServicer):
    """SERVING for the server and its two services; any other is unknown."""

    def __init__(self):
        super().__init__()
        for service in SERVICES:
            self.set(service, health_pb2.HealthCheckResponse.SERVING)

    def Check(self, request, context):  # noqa: N802
        """The library's answer, with the words of gRPC's own service in C++."""
        response = super().Check(request, context)
        if context.code() == grpc.StatusCode.NOT_FOUND:
            context.set_details("service name unknown")
        return response


def add_to(server: grpc.Server) -> None:
    health_pb2_grpc.add_HealthServicer_to_server(Health(), server)
