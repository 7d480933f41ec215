"""YAML with anchors, dates and a mistake."""

import yaml

TEXT = """
base: &base {unit: €, limits: [1, 2.5]}
shop:
  <<: *base
  opened: 2024-01-02
  on: yes
"""
print(yaml.safe_load(TEXT))
print(yaml.safe_dump({"ü": [1, {"a": None}], "long": "x" * 90}, allow_unicode=True))
try:
    yaml.safe_load("a: [1, 2")
except yaml.YAMLError as error:
    print(type(error).__name__, error.problem_mark.line)
