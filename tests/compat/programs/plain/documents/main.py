"""JSON, CSV, XML, INI and TOML with odd contents."""

import configparser
import csv
import io
import json
import sys
import tomllib
import xml.etree.ElementTree as ET

print(json.dumps({"ü": [1, None, 1e400], "b": {"c": True}}, ensure_ascii=False, sort_keys=True))
writer = csv.writer(sys.stdout)
writer.writerow(["a,b", 'say "hi"', "two\nlines", None, 1.0])
root = ET.fromstring("<rows><row id='1'>ä &amp; b</row><row id='2'/></rows>")
print([(row.get("id"), row.text) for row in root], ET.tostring(root, encoding="unicode"))
config = configparser.ConfigParser()
config.read_string("[a]\nkey = %(base)s/x\nbase = /srv\n")
print(config["a"]["key"], tomllib.loads("when = 2024-01-02\n[t]\nx = [1, 2.5]"))
try:
    json.load(io.StringIO("{"))
except json.JSONDecodeError as error:
    print(error)
