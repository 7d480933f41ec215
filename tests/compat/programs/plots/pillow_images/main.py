"""Draw, resize, convert and read back; a broken image is an error."""

import io

from PIL import Image, ImageDraw, ImageFilter, UnidentifiedImageError

image = Image.new("RGB", (120, 80), "white")
draw = ImageDraw.Draw(image)
draw.rectangle((10, 10, 60, 60), fill="#c00", outline="black")
draw.text((70, 30), "text", fill="blue")
image.filter(ImageFilter.GaussianBlur(1)).save("blurred.png")
image.resize((60, 40)).save("small.jpg", quality=80)
image.convert("P").save("frames.gif", save_all=True, append_images=[Image.new("P", (120, 80))], duration=100)
for name in ("blurred.png", "small.jpg", "frames.gif"):
    with Image.open(name) as read:
        print(name, read.format, read.size, read.mode, getattr(read, "n_frames", 1))
try:
    Image.open(io.BytesIO(b"no image"))
except UnidentifiedImageError as error:
    print(type(error).__name__)
