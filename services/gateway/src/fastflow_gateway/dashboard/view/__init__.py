"""The data of each page, computed without a request. Pure."""
