"""What a script creates has the usual modes."""

import os
import stat

with open("file.txt", "w") as file:
    file.write("x")
os.mkdir("folder")
print(oct(stat.S_IMODE(os.stat("file.txt").st_mode)), oct(stat.S_IMODE(os.stat("folder").st_mode)))
