"""Fails on purpose, with a readable traceback: shows what a failed run looks like."""


def parse(record: str) -> float:
    _, _, amount = record.split(";")
    return float(amount)


def load(records: list[str]) -> list[float]:
    amounts = []
    for number, record in enumerate(records, start=1):
        try:
            amounts.append(parse(record))
        except ValueError as error:
            raise RuntimeError(f"record {number} cannot be read: {record!r}") from error
    return amounts


print("Reading 3 records")
print(sum(load(["2026-03-02;rent;850.00", "2026-03-03;food;62.40", "2026-03-04;books;about twenty"])))
