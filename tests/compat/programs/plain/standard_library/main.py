"""Every module of the standard library that a data script may use can be imported."""

import importlib

NAMES = """bz2 lzma zlib sqlite3 ssl ctypes decimal curses readline uuid hashlib multiprocessing.synchronize
venv ensurepip zoneinfo xml.parsers.expat unittest doctest cProfile pdb email.mime.text smtplib ftplib imaplib
xmlrpc.client wsgiref.simple_server socketserver turtle tkinter idlelib distutils lib2to3"""
for name in NAMES.split():
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(name, error)
print("over")
