"""Tables of Arrow: Parquet, IPC, CSV and computing."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

table = pa.table({"name": ["a", "b", None], "value": [1, 2, 3], "list": [[1], [], None]})
pq.write_table(table, "rows.parquet", compression="zstd")
print(pq.read_table("rows.parquet", columns=["name", "value"]).to_pylist())
print(pc.sum(table["value"]), table.filter(pc.field("value") > 1).num_rows)
with pa.OSFile("rows.arrow", "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
    writer.write(table)
with pa.memory_map("rows.arrow") as source:
    print(pa.ipc.open_file(source).read_all().equals(table))
pyarrow.csv.write_csv(table.select(["name", "value"]), "rows.csv")
try:
    pa.array([1, "x"])
except pa.ArrowInvalid as error:
    print(str(error)[:40])
