"""A proxy to the Docker daemon that allows exactly the requests a runner makes.

Access to Docker's socket is root access to the host. In a deployment, only this process has it, and it checks every
request, including the body. ``rules`` decides what passes; ``server`` listens. Run ``python -m fastflow_runner.proxy``
beside the runner and in the same version: the proxy allows only the requests of that version.
"""
