"""A letter that the font does not have is a warning, and a bar chart is made."""

import logging

logging.getLogger("matplotlib.font_manager").setLevel("ERROR")  # it warns of a slow machine

import warnings

import matplotlib.pyplot as plt

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    plt.bar(["a", "日"], [1, 2])
    plt.savefig("bars.png")
print([str(each.message).split(" (")[0] for each in caught][:1])
