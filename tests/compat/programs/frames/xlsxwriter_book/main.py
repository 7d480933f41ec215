"""A workbook with formats, a formula and a chart; the same bytes each time."""

import datetime

import openpyxl
import xlsxwriter

book = xlsxwriter.Workbook("book.xlsx")
book.set_properties({"created": datetime.datetime(2024, 1, 1)})
sheet = book.add_worksheet("Übersicht")
bold = book.add_format({"bold": True, "num_format": "0.00"})
sheet.write_row(0, 0, ["name", "price"], bold)
for row, (name, price) in enumerate([("apple", 1.2), ("pear", 2.5)], 1):
    sheet.write(row, 0, name)
    sheet.write(row, 1, price)
sheet.write_formula("B4", "=SUM(B2:B3)", bold, 3.7)
chart = book.add_chart({"type": "column"})
chart.add_series({"values": "='Übersicht'!$B$2:$B$3"})
sheet.insert_chart("D2", chart)
book.close()
read = openpyxl.load_workbook("book.xlsx", data_only=True)
print([[cell.value for cell in row] for row in read["Übersicht"].iter_rows(max_col=2)])
