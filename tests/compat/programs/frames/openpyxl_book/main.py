"""Change a workbook in place: styles, merged cells, a new sheet."""

import os

import openpyxl
from openpyxl.styles import Font

book = openpyxl.Workbook()
sheet = book.active
sheet.title = "data"
sheet.append(["name", "value"])
sheet.append(["ü", 3])
sheet.merge_cells("A4:B4")
sheet["A1"].font = Font(bold=True)
book.create_sheet("more", 0)["B2"] = "=1+1"
book.save("book.xlsx")
again = openpyxl.load_workbook("book.xlsx")
print(again.sheetnames, again["data"]["A1"].font.bold, again["more"]["B2"].value, again["data"].merged_cells.ranges)
os.remove("book.xlsx")
