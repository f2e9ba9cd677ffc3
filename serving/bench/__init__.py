"""Load on a server and what it makes of the latency: ``zoo bench``.

Requests are encoded once, before the clock starts, and sent as bytes; answers are read and not decoded. So what is
measured is the server and the way there and back, and of the client no more than its sockets.
"""
