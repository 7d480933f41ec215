"""Operations on the bus: their records and their items. I/O only."""

from __future__ import annotations

from typing import TypeAlias

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.bucket import Bucket
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.subjects import ItemsRef
from fastflow_contracts.codec import Malformed
from fastflow_contracts.ids import RunId
from fastflow_contracts.runs.operations.records import (
    CHUNK_ITEMS,
    OPERATION,
    OPERATION_ITEMS,
    OperationItem,
    OperationItems,
    OperationRecord,
)

Items: TypeAlias = tuple[OperationItem, ...]


class OperationStore:
    """The operations of one bus."""

    def __init__(self, bus: Bus) -> None:
        self.records: Bucket[RunId, OperationRecord] = Bucket(
            bus,
            subjects.OPERATIONS,
            OPERATION,
            keys=subjects.OPERATION_KEYS,
            key_of=subjects.operation_key,
            name_in=subjects.parse_operation_key,
            check=_check,
        )
        self.items: Bucket[ItemsRef, OperationItems] = Bucket(
            bus,
            subjects.OPERATIONS,
            OPERATION_ITEMS,
            keys=subjects.OPERATION_ITEM_KEYS,
            key_of=subjects.operation_items_key,
            name_in=subjects.parse_operation_items_key,
        )

    async def create(self, record: OperationRecord, items: Items) -> int:
        """Store a new operation, its items first: a crash in between leaves nothing that is carried out.

        Returns:
            The revision of its record.

        Raises:
            RevisionConflict: There is one with this id already.
            BusError: The bus does not answer, or has no room.
        """
        for number in range(0, len(items), CHUNK_ITEMS):
            chunk = OperationItems(items=items[number : number + CHUNK_ITEMS])
            await self.items.put(ItemsRef(record.id, number // CHUNK_ITEMS), chunk, expect=None)
        return await self.records.put(record.id, record, expect=0)

    async def chunk(self, operation: RunId, position: int) -> Items:
        """Return the items of the chunk that has the item at *position*; none if they are not stored any more.

        Raises:
            Unreadable: They cannot be read.
            BusError: The bus does not answer.
        """
        found = await self.items.get(ItemsRef(operation, position // CHUNK_ITEMS))
        return found.value.items if found else ()


def _check(operation: RunId, record: OperationRecord) -> None:
    if record.id != operation:
        raise Malformed(f"it is the record of operation {record.id}")
