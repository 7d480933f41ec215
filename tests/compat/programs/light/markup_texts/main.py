"""Markdown to HTML, XML to a dictionary."""

import markdown
import xmltodict

print(markdown.markdown("# Title\n\n* a\n* **b**\n\n| x | y |\n|---|---|\n| 1 | 2 |", extensions=["tables"]))
document = xmltodict.parse("<rows unit='€'><row>1</row><row>2</row></rows>")
print(document)
print(xmltodict.unparse({"root": {"@id": "1", "#text": "ü"}}))
