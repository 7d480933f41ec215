"""The cell runner: executes a notebook inside a sandbox, beside the supervisor. Nothing of the runner's is imported.

Runs on the environment's own interpreter and its nbclient, started as a folder: ``python -I .../cells``. Python 3.9 or
newer. ``plan`` says what there is to do, ``kernel`` does it with one kernel, ``report`` tells of it, ``execute`` is the
loop; ``masking`` is shared with the runner.

Two ways lead out. What people read goes to stdout and stderr like a script's output and becomes the run's log. Events
(``fastflow_contracts.cells``) go, one JSON object a line, to the descriptor that ``FASTFLOW_CELL_EVENTS_FD`` names.
User code runs in the kernel, another process, which does not inherit that descriptor and cannot open it through /proc,
because this process is not dumpable. So it can neither forge an event nor take one back.
"""
