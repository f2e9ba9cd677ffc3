"""From version folders to the files that run TensorFlow Serving on one machine or on many: ``zoo deploy``.

A **plan** (``plan.py``) says what is deployed: models, their labelled versions, processors, memory. Each target is a
module with one pure function ``files``: from a plan to the names and texts of the files of a folder. What runs in the
container is the same everywhere (``container.py``).
"""
