import os
from pathlib import Path

print("after", os.environ["FASTFLOW_PARENT_PIPELINE"])
print(Path(os.environ["FASTFLOW_PARENT_ARTIFACTS_DIR"], "way.txt").read_text())
