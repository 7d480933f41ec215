"""An error of a package that is not handled; the code is that of any traceback."""

import yaml


class BadSettings(Exception):
    pass


try:
    yaml.safe_load("{")
except yaml.YAMLError:
    raise BadSettings("settings.yaml, line 1") from None
