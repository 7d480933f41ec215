"""A semicolon, a decimal comma, a byte order mark and Latin-1, as spreadsheets export them."""

from pathlib import Path

import pandas as pd

Path("bom.csv").write_bytes("\ufeffname;preis\nBirne;2,50\n".encode())
Path("latin.csv").write_bytes("name;preis\nÄpfel;1,20\n".encode("latin-1"))
print(pd.read_csv("bom.csv", sep=";", decimal=","))
print(pd.read_csv("latin.csv", sep=";", decimal=",", encoding="latin-1"))
try:
    pd.read_csv("latin.csv", sep=";")
except UnicodeDecodeError as error:
    print(error.reason)
