"""A model server in Python that answers as TensorFlow Serving does, over REST and gRPC.

    python -m serving.embedded --model_name=lenet5 --model_base_path=/srv/lenet5 --port=8500 --rest_api_port=8501

Read it from the outside in:

    __main__      flags in, exit code out
    flags         TF Serving's flag names -> Options
    server        the parts put together: start, serve, stop
    rest_server   HTTP sockets (aiohttp)          grpc_server   gRPC sockets (grpcio)
    rest          (method, target, body) -> response, no sockets; routes: target -> call
    json_text     RapidJSON's reading, layout and number formats
    json_request  JSON -> arrays, tf.Example      json_response  arrays, states, signatures -> JSON
    inference     predict, classify, regress and multi-inference on a loaded servable
    core          configuration, labels and look-up: which servable answers a request
    service       the same calls as messages, for gRPC
    proto_file    configuration as text
    model_config  the text file that lists models       version_source  version folders, and which of them to serve
    manager       the life of versions: load, serve, let go
    batching      requests that are computed together      batching_config  the text file that says how
    saved_model   SavedModel -> a servable; the only module that imports TensorFlow
    warmup        TFRecord of PredictionLog, run before a version answers
    monitoring_config  the text file that turns metrics on
    metrics       Prometheus counters and histograms under TF Serving's names
    status        error codes and their HTTP form
"""
