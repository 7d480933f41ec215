"""A workbook through openpyxl and back."""

import io

import pandas as pd

buffer = io.BytesIO()
with pd.ExcelWriter(buffer, engine="openpyxl") as writer:
    pd.DataFrame({"name": ["ü", "b"], "value": [1.5, 2]}).to_excel(writer, sheet_name="one", index=False)
    pd.DataFrame({"n": range(3)}).to_excel(writer, sheet_name="two", index=False)
print({name: frame.shape for name, frame in pd.read_excel(buffer, sheet_name=None).items()})
print(pd.read_excel(buffer, sheet_name="one"))
