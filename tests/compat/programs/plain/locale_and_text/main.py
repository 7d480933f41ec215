"""The locale is UTF-8 with C rules; text is compared, sorted and formatted by it."""

import locale
import os
import unicodedata

print(locale.getpreferredencoding(), locale.setlocale(locale.LC_ALL, ""))
print(sorted(["b", "a", "Z", "ä"]), locale.strxfrm("a") < locale.strxfrm("b"))
print(f"{1234567.891:,.2f}", f"{1234567.891:n}", locale.localeconv()["decimal_point"])
print(unicodedata.normalize("NFD", "é") == "é", unicodedata.name("ß"), "STRASSE".casefold() == "straße".casefold())
with open("text.txt", "w") as file:
    file.write("äöü\n")
print(os.path.getsize("text.txt"))
try:
    locale.setlocale(locale.LC_ALL, "xx_XX.UTF-8")
except locale.Error as error:
    print(error)
