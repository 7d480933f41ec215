"""A proxy to the Docker daemon that allows exactly the requests a runner makes.

Access to Docker's socket is root on its host. So in a deployment no service has it except this process, which reads
every request, body included. ``rules`` decides what passes; ``server`` listens. Run it as
``python -m fastflow_runner.proxy`` beside the runner, in the same version: it allows what that version asks for.
"""
