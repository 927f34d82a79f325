"""What does a request to a Kubernetes API server do? Pure: verb, resource and body, no cluster is asked.

`effects.py` is the door: `read(request)` gives the effects. The one thing to know: resources and paths that are
not in `resources.yaml` are unknown, and unknown is never low.
"""
