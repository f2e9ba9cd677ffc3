"""``nginx.conf``: what stands before the server where no ingress does."""

from serving.launching import GRPC_PORT, REST_PORT


def config(body_limit: int) -> str:
    """nginx without root, on a read-only disk: REST up to ``body_limit`` MiB, but no metrics; gRPC as it comes.

    The bytes of gRPC go through unread, so that its TLS is the server's own, and a limit of size cannot be set.
    """
    return f"""\
worker_processes auto;
pid /tmp/nginx.pid;
error_log stderr;
events {{}}

http {{
    access_log /dev/stdout;
    client_max_body_size {body_limit}m;
    client_body_temp_path /tmp/client_body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    server {{
        listen {REST_PORT};
        location /v1/models/ {{
            proxy_pass http://server:{REST_PORT};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}

stream {{
    server {{
        listen {GRPC_PORT};
        proxy_pass server:{GRPC_PORT};
    }}
}}
"""
