"""Pictures as arrays and back."""

import numpy as np
from PIL import Image

pixels = np.zeros((32, 32, 3), dtype="uint8")
pixels[8:24, 8:24] = [255, 128, 0]
Image.fromarray(pixels).save("square.png")
back = np.asarray(Image.open("square.png"))
print(back.shape, back.sum(), (back == pixels).all())
