"""Classes made by attrs, with validators and converters."""

import attrs


@attrs.define(order=True)
class Row:
    name: str = attrs.field(converter=str.strip)
    price: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))


print(sorted([Row(" pear ", 2.5), Row("apple")]))
print(attrs.asdict(attrs.evolve(Row("a"), price=3)))
try:
    Row("x", -1)
except ValueError as error:
    print(str(error).splitlines()[0])
