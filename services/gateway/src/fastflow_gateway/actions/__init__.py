"""Use cases: start, cancel, retry, link, switch, encrypt. The API and the dashboard share them."""
