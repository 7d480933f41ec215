"""The promises of the README and the design, by the name in a test's marker ``promise``.

``make test`` runs the Docker and end-to-end tests with that marker, at least one for each promise; ``make verify`` runs
all the others.
"""

from __future__ import annotations

PROMISES = {
    "nothing lost": "A start is one run record or keeps its message; a run has one end, under any kill.",
    "nothing doubled": "One slot is one run, and no two attempts of a run are there at once.",
    "starts fast": "A clean, single-use container is ready before a run needs it.",
    "nothing shared": "Any service can be started several times, on any machine; they share nothing but the bus.",
    "one command": "One command runs everything, and creates what it needs.",
    "explains itself": "A run says why it failed, what it ran, and how long it took.",
    "nothing to build": "A script gets the interpreter and packages that it would have on a laptop.",
    "live": "Every line of output is there as it is printed, complete and in order.",
    "isolated": "A script reaches nothing of ours and nothing of another run, and keeps its limits.",
    "secrets": "A clear value exists only in the environment of the script.",
    "notebooks": "A notebook runs cell by cell in one kernel.",
    "from git": "A push is live after the next sync.",
    "starts from anywhere": "A webhook, the API and any client of the bus start runs.",
    "the format": "Every field of pipeline.json does what its documentation says.",
}

WITHOUT_DOCKER = {"notebooks", "from git", "starts from anywhere", "the format"}
"""What no test in ``tests/docker`` can show: the end-to-end tests do, some of them in containers."""
