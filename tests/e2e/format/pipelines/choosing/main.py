import os
from pathlib import Path

Path(os.environ["FASTFLOW_ARTIFACTS_DIR"], "way.txt").write_text(f"turned {os.environ['WAY']}")
Path(os.environ["FASTFLOW_ROUTE_FILE"]).write_text(os.environ["WAY"])
