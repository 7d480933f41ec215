"""A chart as PNG, SVG and PDF, without a screen, the same bytes each time."""

import logging

logging.getLogger("matplotlib.font_manager").setLevel("ERROR")  # it warns of a slow machine

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

matplotlib.rcParams["svg.hashsalt"] = "fixed"
x = np.linspace(0, 10, 50)
figure, axes = plt.subplots(figsize=(4, 3))
axes.plot(x, np.sin(x), label="sin(x) — grün")
axes.legend()
axes.set_title("Größe")
print(matplotlib.get_backend().lower())
figure.savefig("chart.png", dpi=80)
figure.savefig("chart.svg", metadata={"Date": None})
figure.savefig("chart.pdf", metadata={"CreationDate": None})
plt.show()
