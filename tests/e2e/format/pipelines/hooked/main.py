import os
from pathlib import Path

print(os.environ.get("COLOUR"), Path(os.environ["FASTFLOW_EVENT_FILE"]).read_text())
