"""A typer application with a type error in its arguments."""

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def report(rows: int = 10, title: str = "Report"):
    print(title, rows)
    raise typer.Exit(code=5)


app([], prog_name="report")
