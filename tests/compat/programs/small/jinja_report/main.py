"""A page from a template beside the script, and a template with an error."""

from pathlib import Path

import jinja2

environment = jinja2.Environment(loader=jinja2.FileSystemLoader("templates"), autoescape=True, trim_blocks=True)
rows = [{"name": "apple & pear", "price": 1.2}, {"name": "<b>", "price": 2}]
Path("report.html").write_text(environment.get_template("report.html").render(rows=rows), encoding="utf-8")
print(Path("report.html").read_text(encoding="utf-8"))
try:
    environment.from_string("{{ rows[ }}")
except jinja2.TemplateSyntaxError as error:
    print(error.message, error.lineno)
