"""The first of a chain: when it succeeds, `load` starts. A real one would store its result where `load` finds it."""

orders = [("Lamp", 3), ("Chair", 2), ("Desk", 1)]
for product, quantity in orders:
    print(f"{quantity} × {product}")
print(f"{len(orders)} orders extracted")
