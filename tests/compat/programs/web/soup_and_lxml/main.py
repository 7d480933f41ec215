"""HTML and XML, also broken, with a schema and a stylesheet."""

from bs4 import BeautifulSoup
from lxml import etree, html

PAGE = "<html><body><p class=x>One<p>Zwei & <b>drei</body>"
soup = BeautifulSoup(PAGE, "html.parser")
print([p.get_text() for p in soup.find_all("p")], soup.select_one("p.x").text[:3])
print(html.fromstring(PAGE).xpath("//p/text()"))
root = etree.fromstring(b"<rows><row n='1'/><row n='2'>\xc3\xbc</row></rows>")
print(root.xpath("sum(//@n)"), etree.tostring(root, encoding="unicode", pretty_print=True))
sheet = b"""<x:stylesheet version="1.0" xmlns:x="http://www.w3.org/1999/XSL/Transform">
<x:template match="/"><out><x:value-of select="count(//row)"/></out></x:template></x:stylesheet>"""
print(etree.XSLT(etree.fromstring(sheet))(root))
try:
    etree.fromstring("<a><b></a>")
except etree.XMLSyntaxError as error:
    print(error.msg)
