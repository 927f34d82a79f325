"""What does a request to an AWS API do? Pure: the request and the models of the services, no account is asked.

`effects.py` is the door: `read(request)` gives the effects. The models are botocore's (the `aws` extra). The one thing
to know: a request that fits no action, or two, is unknown, and unknown is never low.
"""
