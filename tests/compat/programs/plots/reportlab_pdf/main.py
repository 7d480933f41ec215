"""A PDF that is the same each time, and what pypdf reads in it."""

from pypdf import PdfReader, PdfWriter
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen import canvas

page = canvas.Canvas("report.pdf", pagesize=A4, invariant=1)
page.drawString(100, 700, "Umsatz: 12,50")
page.showPage()
page.drawString(100, 700, "Seite zwei")
page.save()
reader = PdfReader("report.pdf")
print(len(reader.pages), [each.extract_text() for each in reader.pages])
writer = PdfWriter()
writer.add_page(reader.pages[1])
writer.write("second.pdf")
print(len(PdfReader("second.pdf").pages))
