"""A Python client of the HTTP API: it can do what any user can, and nothing else.

hone = Client("http://127.0.0.1:8000", key)
job = hone.jobs.submit({"algorithm": {"type": "sft"}, "dataset": {"source": "linear-algebra"}})
for event in hone.jobs.stream(job.id):
    print(event.kind, event.data)
"""

from hone.client.client import Client
from hone.client.transport import ApiError

__all__ = ["ApiError", "Client"]
