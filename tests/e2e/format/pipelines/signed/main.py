import os
from pathlib import Path

print(Path(os.environ["FASTFLOW_EVENT_FILE"]).read_text())
