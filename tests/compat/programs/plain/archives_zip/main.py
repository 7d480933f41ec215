"""A zip with fixed times, read back; a bad one is an error."""

import io
import zipfile

with zipfile.ZipFile("out.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    for name in ("a.txt", "dir/ü.txt"):
        archive.writestr(zipfile.ZipInfo(name, (2024, 1, 2, 3, 4, 6)), name * 100)
with zipfile.ZipFile("out.zip") as archive:
    print([(info.filename, info.file_size) for info in archive.infolist()], archive.testzip())
    archive.extractall("unpacked")
try:
    zipfile.ZipFile(io.BytesIO(b"not a zip"))
except zipfile.BadZipFile as error:
    print(error)
