import os
from pathlib import Path

Path(os.environ["FASTFLOW_ROUTE_FILE"]).write_text(os.environ["WAY"])
