"""What runs on a host: the front that answers HTTP, the worker that runs the model, the keeper.

Imports nothing of `app/` outside itself, so that it can be copied to a host as it is.
"""
