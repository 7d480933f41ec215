"""The cell runner: executes a notebook inside a sandbox, beside the supervisor. Nothing of the runner's is imported.

It runs on an environment of ours (``requirements.lock``), isolated, started as a folder: ``python -I .../cells``. The
pipeline decides nothing in it: its packages, its files and its variables are the kernel's, another process on the
pipeline's own interpreter. ``plan`` says what there is to do, ``kernel`` does it with one kernel, which ``launch``
starts; ``report`` tells of it, ``execute`` is the loop; ``masking`` is shared with the runner.

Two ways lead out. What people read goes to stdout and stderr like a script's output and becomes the run's log. Events
(``fastflow_contracts.runs.cells``) go, one JSON object a line, to the descriptor that ``FASTFLOW_CELL_EVENTS_FD``
names. The kernel does not inherit it and cannot open it through /proc, because this process is not dumpable and the
supervisor has taken from its children what overrides that. So it can neither forge an event nor take one back.
"""

ORDERS_FILE = "FASTFLOW_CELL_ORDERS"
"""The variable that names the file with what the runner has to say: the kernel's interpreter, parameters, cells, names
of secret variables.
"""
KERNEL_PREFIX = "FASTFLOW_KERNEL_ENV_"
"""Before the names of the run's own variables, so that none of them means anything before the kernel is started."""
