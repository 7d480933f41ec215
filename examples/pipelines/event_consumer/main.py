"""Reads the webhook body or bus message that started it, in any format."""

import json
import os
from pathlib import Path

print("Started by:", os.environ.get("FASTFLOW_TRIGGERED_BY", "hand"))
path = os.environ.get("FASTFLOW_EVENT_FILE")
body = Path(path).read_bytes() if path else b""

if not body:
    print("No event arrived. Send one:  fastflow trigger event_consumer '{\"order\": 7}'")
else:
    try:
        event = json.loads(body)
    except ValueError:
        print(f"{len(body)} bytes that are not JSON, starting with {body[:40]!r}")
    else:
        print(json.dumps(event, indent=2, ensure_ascii=False))
