"""Which flags let a server answer the most requests within a latency: ``zoo tune``."""
