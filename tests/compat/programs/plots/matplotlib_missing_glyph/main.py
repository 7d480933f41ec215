"""A letter that the font does not have is a warning, and a bar chart is made."""

import logging
import warnings

import matplotlib.pyplot as plt

logging.getLogger("matplotlib.font_manager").setLevel("ERROR")  # a slow machine is a warning there

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    plt.bar(["a", "日"], [1, 2])
    plt.savefig("bars.png")
print([str(each.message).split(" (")[0] for each in caught][:1])
