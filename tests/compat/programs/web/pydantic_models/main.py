"""Models with validation, JSON and a schema."""

from datetime import date
from decimal import Decimal

from pydantic import BaseModel, Field, ValidationError, field_validator


class Row(BaseModel):
    name: str = Field(min_length=1)
    price: Decimal = Field(ge=0, decimal_places=2)
    day: date | None = None

    @field_validator("name")
    @classmethod
    def tidy(cls, value):
        return value.strip()


print(Row.model_validate_json('{"name": " grün ", "price": "1.20", "day": "2024-01-02"}').model_dump_json())
print(sorted(Row.model_json_schema()["properties"]))
try:
    Row(name="", price="-1", day="soon")
except ValidationError as error:
    print([(problem["loc"], problem["type"]) for problem in error.errors()])
