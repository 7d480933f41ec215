"""Tables, markup and a tree: without a terminal there is no colour."""

from rich.console import Console
from rich.table import Table
from rich.tree import Tree

console = Console()
table = Table(title="Fruit")
table.add_column("name")
table.add_column("price", justify="right")
table.add_row("[red]apple[/red]", "1.20")
table.add_row("Birne", "2.50 €")
console.print(table)
tree = Tree("root")
tree.add("leaf").add(":pear:")
console.print(tree)
console.print({"list": list(range(30)), "text": "x" * 60})
print(console.width, console.is_terminal, console.color_system)
