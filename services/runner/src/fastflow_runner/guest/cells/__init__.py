"""The cell runner: executes a notebook inside a sandbox, beside the supervisor. It imports nothing from the runner.

It runs isolated in an environment of ours (``requirements.lock``), started as a folder: ``python -I .../cells``. The
pipeline cannot change it: the pipeline's packages, files and variables belong to the kernel, another process on the
pipeline's own interpreter. ``plan`` lists the work, ``kernel`` does it with one kernel, which ``launch`` starts
and ``shell`` changes; ``report`` reports it, ``execute`` is the loop; ``masking`` is shared with the runner.

There are two ways out. Readable text goes to stdout and stderr like a script's output and becomes the run's log. Events
(``fastflow_contracts.runs.cells``) go, one JSON object a line, to the descriptor in ``FASTFLOW_CELL_EVENTS_FD``. The
kernel does not inherit it. It cannot open it through /proc either: this process is not dumpable, and the supervisor's
children lack the capability that would override that. So the kernel can neither forge an event nor take one back.
"""

ORDERS_FILE = "FASTFLOW_CELL_ORDERS"
"""The variable with the path of the runner's orders: the kernel's interpreter, parameters, cells, names of secret
variables.
"""
KERNEL_PREFIX = "FASTFLOW_KERNEL_ENV_"
"""Prefix of the run's own variables, so that none of them takes effect before the kernel starts."""
