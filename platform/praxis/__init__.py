"""The Praxis platform: what every domain assistant shares."""

import os

# NumPy's products here are small, and the threads of its library spin for a while after each, beside
# an encoder that needs the CPUs: a message's intent took 24 ms with them and takes 14 without, on two
# cores. It is read when NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from praxis.celery import app as celery_app

__all__ = ["celery_app"]
