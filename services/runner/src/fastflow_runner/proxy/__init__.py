"""A door to the Docker daemon that opens for what a runner does and for nothing else.

Whoever holds Docker's socket is root on its host, so in a deployment no service holds it: this process does, and
reads every request, body included. ``rules`` says what passes; ``door`` is the socket. Run it as
``python -m fastflow_runner.proxy`` beside the runner, of the same version: what it lets through is what this version
of the runner asks for.
"""
