"""Frames of an animation, written by Pillow."""

import logging

logging.getLogger("matplotlib.font_manager").setLevel("ERROR")  # it warns of a slow machine

import matplotlib.pyplot as plt
from matplotlib.animation import FuncAnimation, PillowWriter
from PIL import Image

figure, axes = plt.subplots(figsize=(2, 2))
(line,) = axes.plot([], [])
axes.set_xlim(0, 4)


def frame(number):
    line.set_data(range(number + 1), [0.2] * (number + 1))
    return (line,)


FuncAnimation(figure, frame, frames=4).save("moving.gif", writer=PillowWriter(fps=5))
with Image.open("moving.gif") as read:
    print(read.n_frames, read.size)
