"""A figure of plotly as JSON and as a page."""

import json

import plotly.graph_objects as go

figure = go.Figure(go.Bar(x=["ä", "b"], y=[1, 2]), layout={"title": {"text": "Größe"}})
print(sorted(json.loads(figure.to_json())["data"][0]))
figure.write_html("chart.html", include_plotlyjs="cdn", div_id="chart")
try:
    go.Bar(colour="red")
except ValueError as error:
    print(str(error).split("\n")[0])
